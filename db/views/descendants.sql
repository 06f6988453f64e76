CREATE FUNCTION hublineage.descendants(
    model text,
    edges text DEFAULT 'inferred',
    undecided boolean DEFAULT false,
    max_depth integer DEFAULT NULL,
    at_most bigint DEFAULT NULL,
    strict boolean DEFAULT true,
    source text DEFAULT NULL
) RETURNS TABLE (
    depth integer,
    descendant text,
    via text,
    relation text,
    confidence double precision,
    path_confidence double precision,
    known_by text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT step.depth, node.name, via.name, step.relation, step.confidence, step.chance, step.known_by
    FROM hublineage_internal.walk(
        hublineage_internal.begin_walk(model, false, edges, undecided, strict, source), true, edges, undecided, max_depth, at_most
    ) AS step
    JOIN public.repositories AS node ON node.id = step.node
    JOIN public.repositories AS via ON via.id = step.via
    ORDER BY step.depth, step.chance DESC NULLS LAST, node.name
$$;

COMMENT ON FUNCTION hublineage.descendants IS 'The models below a model: its children, their children and so on, and copies of them, each once and the nearest first. at_most: only as many, the nearest and of these the ones that were listed first; a page costs no more, however many there are. depth: how many edges below, by the shortest way; via: the model just above it on that way; relation and confidence: of the edge between these two; path_confidence: the product of the confidences along the way, null where an edge of it is only declared; known_by: inferred or declared. edges: inferred (decided edges of the current runs), declared (cards, configurations and tags, without hints) or both; undecided: follow undecided edges, too; strict: an error where nothing is inferred of the model, false: no rows; source: where the model was found, if several sources have it.';
