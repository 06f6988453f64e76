-- At most eight tables are joined: beyond that PostgreSQL keeps to the order in which they are written, whatever is asked.
CREATE VIEW hublineage.inferred_parents AS
SELECT
    child.name AS model,
    parent.name AS parent,
    edges.relation,
    edges.confidence,
    edges.decided,
    edges.evidence,
    (SELECT families.name FROM public.families WHERE families.id = runs.family_id) AS family,
    runs.method,
    runs.id AS run,
    child_revision.sha AS model_sha,
    parent_revision.sha AS parent_sha,
    clusters.position AS tree,
    (SELECT sources.name FROM public.sources WHERE sources.id = child.source_id) AS source
FROM public.edges
JOIN public.clusters ON clusters.id = edges.cluster_id
JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
JOIN public.revisions AS child_revision ON child_revision.id = edges.child_id
JOIN public.revisions AS parent_revision ON parent_revision.id = edges.parent_id
JOIN public.repositories AS child ON child.id = child_revision.repository_id
JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id;

COMMENT ON VIEW hublineage.inferred_parents IS 'Parents inferred from weights, by the newest run of each family.';
COMMENT ON COLUMN hublineage.inferred_parents.confidence IS 'probability, from 0 to 1, of this edge with this direction';
COMMENT ON COLUMN hublineage.inferred_parents.decided IS 'false where the confidence is below the run''s threshold';
COMMENT ON COLUMN hublineage.inferred_parents.evidence IS 'the numbers that the edge rests on';
COMMENT ON COLUMN hublineage.inferred_parents.run IS 'the inference that found it';
COMMENT ON COLUMN hublineage.inferred_parents.model IS 'org/name of the child';
COMMENT ON COLUMN hublineage.inferred_parents.parent IS 'org/name of the model that it was trained or made from';
COMMENT ON COLUMN hublineage.inferred_parents.relation IS 'how the child came of it, by its weights: finetune, lora, cast, pruned, merge (one of several) or duplicate';
COMMENT ON COLUMN hublineage.inferred_parents.family IS 'the comparable models that both belong to';
COMMENT ON COLUMN hublineage.inferred_parents.method IS 'the method of that inference';
COMMENT ON COLUMN hublineage.inferred_parents.model_sha IS 'the revision of the child that was measured';
COMMENT ON COLUMN hublineage.inferred_parents.parent_sha IS 'the revision of the parent that was measured';
COMMENT ON COLUMN hublineage.inferred_parents.tree IS 'the number of the tree in its run';
COMMENT ON COLUMN hublineage.inferred_parents.source IS 'the Hub''s address or the folder that the model was found in';
