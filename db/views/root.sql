CREATE FUNCTION hublineage.root(model text, source text DEFAULT NULL) RETURNS TABLE (
    root text,
    root_confidence double precision,
    models bigint,
    family text,
    tree bigint,
    run bigint,
    why text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT
        repositories.name,
        clusters.root_confidence,
        (SELECT count(*) FROM public.cluster_members WHERE cluster_members.cluster_id = clusters.id),
        families.name,
        clusters.position,
        place.run_id,
        CASE
            WHEN place.run_id IS NULL THEN hublineage_internal.why_no_place(asked.id)
            WHEN revisions.repository_id = asked.id THEN 'it is the root itself'
            WHEN revisions.id = place.stands_for_revision THEN 'its weights equal those of the root'
        END
    FROM (SELECT hublineage_internal.repository_of(model, source) AS id) AS asked
    CROSS JOIN LATERAL hublineage_internal.place_of(asked.id) AS place
    LEFT JOIN public.clusters ON clusters.id = place.cluster_id
    LEFT JOIN public.runs ON runs.id = place.run_id
    LEFT JOIN public.families ON families.id = runs.family_id
    LEFT JOIN public.revisions ON revisions.id = clusters.root_revision_id
    LEFT JOIN public.repositories ON repositories.id = revisions.repository_id
$$;

COMMENT ON FUNCTION hublineage.root IS 'The root of the tree that a model stands in, always one row. root_confidence: probability that it is the root; models: how many the tree has; family, tree, run: which tree that is; why: why there is none, in words, or that the model is the root itself; source: where the model was found, if several sources have it.';
