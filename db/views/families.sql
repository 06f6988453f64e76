CREATE VIEW hublineage.families AS
SELECT
    families.name AS family,
    sources.name AS source,
    (
        SELECT count(*)
        FROM public.revisions
        JOIN public.repositories ON repositories.current_revision_id = revisions.id
        WHERE revisions.family_id = families.id AND repositories.removed_at IS NULL
    ) AS models,
    CASE
        WHEN measured.batches IS NULL THEN 'never measured'
        WHEN measured.unfinished > 0 THEN 'being measured, or interrupted'
        WHEN runs.id IS NULL THEN 'measured, never inferred'
        WHEN runs.finished_at < measured.finished_at THEN 'measured since it was inferred'
        ELSE 'inferred'
    END AS state,
    (SELECT count(*) FROM public.cluster_members WHERE cluster_members.run_id = runs.id) AS inferred_models,
    (SELECT count(*) FROM public.clusters WHERE clusters.run_id = runs.id) AS trees,
    (SELECT count(*) FROM public.family_layers WHERE family_layers.family_id = families.id) AS layers,
    runs.method,
    runs.id AS run,
    measured.finished_at AS measured_at,
    runs.finished_at AS inferred_at
FROM public.families
JOIN public.sources ON sources.id = families.source_id
LEFT JOIN public.runs ON runs.family_id = families.id AND runs.is_current
LEFT JOIN (
    SELECT
        family_id,
        count(*) AS batches,
        count(*) FILTER (WHERE finished_at IS NULL) AS unfinished,
        max(finished_at) AS finished_at
    FROM public.measure_batches
    GROUP BY family_id
) AS measured ON measured.family_id = families.id;

COMMENT ON VIEW hublineage.families IS 'Models of one source whose weights are comparable, and how far they have come.';
COMMENT ON COLUMN hublineage.families.family IS 'its name: the architecture and what tells it from others of that';
COMMENT ON COLUMN hublineage.families.source IS 'the Hub''s address or the folder of its models';
COMMENT ON COLUMN hublineage.families.models IS 'how many models belong to it now';
COMMENT ON COLUMN hublineage.families.state IS 'never measured; being measured, or interrupted (the next run goes on there); measured, never inferred; measured since it was inferred; inferred';
COMMENT ON COLUMN hublineage.families.inferred_models IS 'how many models have a place in its current run';
COMMENT ON COLUMN hublineage.families.trees IS 'how many trees its current run found; a model without relatives is a tree of its own';
COMMENT ON COLUMN hublineage.families.layers IS 'how many tensors its models share, known since the first was measured';
COMMENT ON COLUMN hublineage.families.method IS 'the method of its current run';
COMMENT ON COLUMN hublineage.families.run IS 'its current run; null where none was inferred';
COMMENT ON COLUMN hublineage.families.measured_at IS 'when a batch of its models was measured whole last';
COMMENT ON COLUMN hublineage.families.inferred_at IS 'when its current run was done';
