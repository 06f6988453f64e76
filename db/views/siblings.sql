CREATE FUNCTION hublineage.siblings(
    model text,
    undecided boolean DEFAULT false,
    at_most bigint DEFAULT NULL,
    strict boolean DEFAULT true,
    source text DEFAULT NULL
) RETURNS TABLE (
    sibling text,
    parent text,
    relation text,
    confidence double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH place AS MATERIALIZED (
        SELECT place.*
        FROM hublineage_internal.place_of(hublineage_internal.begin_walk(model, true, 'inferred', undecided, strict, source)) AS place
        WHERE place.run_id IS NOT NULL
    ),
    found AS (
        SELECT sibling.child_id, own.parent_id, NULL::bigint AS absent, sibling.relation,
            own.confidence * sibling.confidence AS confidence
        FROM place
        JOIN public.edges AS own ON own.child_id = place.stands_for_revision
        JOIN public.clusters AS own_tree ON own_tree.id = own.cluster_id AND own_tree.run_id = place.run_id
        JOIN public.edges AS sibling ON sibling.parent_id = own.parent_id AND sibling.child_id <> own.child_id
        JOIN public.clusters AS tree ON tree.id = sibling.cluster_id AND tree.run_id = place.run_id
        WHERE (undecided OR own.decided AND sibling.decided)
          AND own.relation <> 'duplicate' AND sibling.relation <> 'duplicate'
        UNION ALL
        SELECT sibling.child_id, NULL, own.number, NULL, NULL
        FROM place
        JOIN public.absent_parents AS own
            ON own.cluster_id = place.cluster_id AND own.child_id = place.stands_for_revision
        JOIN public.absent_parents AS sibling
            ON sibling.cluster_id = own.cluster_id AND sibling.number = own.number
            AND sibling.child_id <> own.child_id
        LIMIT at_most
    )
    SELECT
        repositories.name,
        coalesce(parent.name, 'absent parent ' || found.absent),
        found.relation,
        found.confidence
    FROM found
    JOIN public.revisions ON revisions.id = found.child_id
    JOIN public.repositories ON repositories.id = revisions.repository_id
    LEFT JOIN public.revisions AS parent_revision ON parent_revision.id = found.parent_id
    LEFT JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id
    ORDER BY found.confidence DESC NULLS LAST, repositories.name, parent.name
$$;

COMMENT ON FUNCTION hublineage.siblings IS 'The models that have a parent in common with a model, a row for each parent that they share: also one that is not in the catalogue, as "absent parent" and its number in the tree. relation: how the sibling came of the parent; confidence: probability of both edges, null of an absent parent; undecided: count undecided edges, too; at_most: only as many; strict: an error where nothing is inferred of the model, false: no rows; source: where the model was found, if several sources have it.';
