CREATE VIEW hublineage.runs AS
SELECT
    runs.id AS run,
    sources.name AS source,
    families.name AS family,
    runs.is_current,
    runs.method,
    runs.parameters,
    runs.versions,
    runs.inputs,
    runs.notes,
    runs.finished_at,
    (SELECT count(*) FROM public.cluster_members WHERE cluster_members.run_id = runs.id) AS models,
    (SELECT count(*) FROM public.clusters WHERE clusters.run_id = runs.id) AS trees,
    (
        SELECT count(*)
        FROM public.edges
        JOIN public.clusters ON clusters.id = edges.cluster_id
        WHERE clusters.run_id = runs.id
    ) AS edges,
    (
        SELECT count(*)
        FROM public.edges
        JOIN public.clusters ON clusters.id = edges.cluster_id
        WHERE clusters.run_id = runs.id AND edges.decided
    ) AS decided
FROM public.runs
JOIN public.families ON families.id = runs.family_id
JOIN public.sources ON sources.id = families.source_id;

COMMENT ON VIEW hublineage.runs IS 'Every inference that is kept: what it came from and what it found. One of each family answers for it.';
COMMENT ON COLUMN hublineage.runs.run IS 'its number, as other views name it';
COMMENT ON COLUMN hublineage.runs.source IS 'the Hub''s address or the folder of its models';
COMMENT ON COLUMN hublineage.runs.family IS 'the comparable models that it looked at';
COMMENT ON COLUMN hublineage.runs.is_current IS 'whether the other views show this one';
COMMENT ON COLUMN hublineage.runs.method IS 'recover (the default) or mother (the paper''s)';
COMMENT ON COLUMN hublineage.runs.parameters IS 'all settings that its result depends on';
COMMENT ON COLUMN hublineage.runs.versions IS 'of this program''s code and of the libraries that computed it';
COMMENT ON COLUMN hublineage.runs.inputs IS 'the revision of every model, and the batches of measures';
COMMENT ON COLUMN hublineage.runs.notes IS 'what was left out, in words';
COMMENT ON COLUMN hublineage.runs.finished_at IS 'when it was done';
COMMENT ON COLUMN hublineage.runs.models IS 'how many models have a place in it';
COMMENT ON COLUMN hublineage.runs.trees IS 'how many trees it found; a model without relatives is a tree of its own';
COMMENT ON COLUMN hublineage.runs.edges IS 'how many edges it found, decided or not';
COMMENT ON COLUMN hublineage.runs.decided IS 'how many of them are decided';
