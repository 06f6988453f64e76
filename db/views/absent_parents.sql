CREATE VIEW hublineage.absent_parents AS
SELECT
    child.name AS model,
    clusters.position AS tree,
    absent_parents.number AS parent,
    families.name AS family,
    runs.id AS run,
    sources.name AS source
FROM public.absent_parents
JOIN public.clusters ON clusters.id = absent_parents.cluster_id
JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
JOIN public.families ON families.id = runs.family_id
JOIN public.sources ON sources.id = families.source_id
JOIN public.revisions ON revisions.id = absent_parents.child_id
JOIN public.repositories AS child ON child.id = revisions.repository_id;

COMMENT ON VIEW hublineage.absent_parents IS 'Siblings that show a parent which is not in the catalogue, a row per child.';
COMMENT ON COLUMN hublineage.absent_parents.tree IS 'the number of the tree in its run';
COMMENT ON COLUMN hublineage.absent_parents.parent IS 'the number of the absent parent in its tree';
COMMENT ON COLUMN hublineage.absent_parents.model IS 'org/name of the child';
COMMENT ON COLUMN hublineage.absent_parents.family IS 'the comparable models that it belongs to';
COMMENT ON COLUMN hublineage.absent_parents.run IS 'the inference that found it';
COMMENT ON COLUMN hublineage.absent_parents.source IS 'the Hub''s address or the folder that the model was found in';
