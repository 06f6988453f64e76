CREATE FUNCTION hublineage.ancestors(
    model text,
    edges text DEFAULT 'inferred',
    undecided boolean DEFAULT false,
    max_depth integer DEFAULT NULL,
    strict boolean DEFAULT true,
    source text DEFAULT NULL
) RETURNS TABLE (
    depth integer,
    ancestor text,
    via text,
    relation text,
    confidence double precision,
    path_confidence double precision,
    known_by text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT step.depth, node.name, via.name, step.relation, step.confidence, step.chance, step.known_by
    FROM hublineage_internal.walk(
        hublineage_internal.begin_walk(model, true, edges, undecided, strict, source), false, edges, undecided, max_depth, NULL
    ) AS step
    JOIN public.repositories AS node ON node.id = step.node
    JOIN public.repositories AS via ON via.id = step.via
    ORDER BY step.depth, step.chance DESC NULLS LAST, node.name
$$;

COMMENT ON FUNCTION hublineage.ancestors IS 'The models above a model: its parents, their parents and so on, each once and the nearest first. depth: how many edges above, by the shortest way; via: the model just below it on that way; relation and confidence: of the edge between these two; path_confidence: the product of the confidences along the way, null where an edge of it is only declared; known_by: inferred or declared. edges: inferred (decided edges of the current runs), declared (cards, configurations and tags, without hints) or both; undecided: follow undecided edges, too; strict: an error where nothing is inferred of the model, false: no rows; source: where the model was found, if several sources have it.';
