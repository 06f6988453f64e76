CREATE VIEW hublineage.inferred_parents AS
SELECT
    child.name AS model,
    parent.name AS parent,
    edges.relation,
    edges.confidence,
    edges.decided,
    edges.evidence,
    families.name AS family,
    runs.method,
    runs.id AS run,
    child_revision.sha AS model_sha,
    parent_revision.sha AS parent_sha
FROM public.edges
JOIN public.clusters ON clusters.id = edges.cluster_id
JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
JOIN public.families ON families.id = runs.family_id
JOIN public.revisions AS child_revision ON child_revision.id = edges.child_id
JOIN public.revisions AS parent_revision ON parent_revision.id = edges.parent_id
JOIN public.repositories AS child ON child.id = child_revision.repository_id
JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id;

COMMENT ON VIEW hublineage.inferred_parents IS 'Parents inferred from weights, by the newest run of each family.';
COMMENT ON COLUMN hublineage.inferred_parents.confidence IS 'probability, from 0 to 1, of this edge with this direction';
COMMENT ON COLUMN hublineage.inferred_parents.decided IS 'false where the confidence is below the run''s threshold';
COMMENT ON COLUMN hublineage.inferred_parents.evidence IS 'the numbers that the edge rests on';
COMMENT ON COLUMN hublineage.inferred_parents.run IS 'the inference that found it';
