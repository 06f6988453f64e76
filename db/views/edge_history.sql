CREATE VIEW hublineage.edge_history AS
SELECT
    child.name AS model,
    parent.name AS parent,
    families.name AS family,
    runs.method,
    min(runs.id) AS first_run,
    max(runs.id) AS last_run,
    count(*) AS seen_in,
    bool_or(runs.is_current) AS is_current,
    min(edges.confidence) AS least_confidence,
    max(edges.confidence) AS most_confidence,
    min(runs.finished_at) AS first_at,
    max(runs.finished_at) AS last_at
FROM public.edges
JOIN public.clusters ON clusters.id = edges.cluster_id
JOIN public.runs ON runs.id = clusters.run_id
JOIN public.families ON families.id = runs.family_id
JOIN public.revisions AS child_revision ON child_revision.id = edges.child_id
JOIN public.revisions AS parent_revision ON parent_revision.id = edges.parent_id
JOIN public.repositories AS child ON child.id = child_revision.repository_id
JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id
GROUP BY child.id, child.name, parent.id, parent.name, families.id, families.name, runs.method;

COMMENT ON VIEW hublineage.edge_history IS 'Every edge that any kept run of a method inferred, and from which run to which; hublineage diff says what changed and with what.';
COMMENT ON COLUMN hublineage.edge_history.model IS 'org/name of the child';
COMMENT ON COLUMN hublineage.edge_history.parent IS 'org/name of the parent that a run inferred';
COMMENT ON COLUMN hublineage.edge_history.family IS 'the comparable models that the runs were of';
COMMENT ON COLUMN hublineage.edge_history.method IS 'recover, or another that was asked for';
COMMENT ON COLUMN hublineage.edge_history.first_run IS 'the first run that is kept and saw the edge';
COMMENT ON COLUMN hublineage.edge_history.last_run IS 'the last one';
COMMENT ON COLUMN hublineage.edge_history.seen_in IS 'how many of the kept runs saw it';
COMMENT ON COLUMN hublineage.edge_history.is_current IS 'whether the run that answers for the family has it';
COMMENT ON COLUMN hublineage.edge_history.least_confidence IS 'the least confidence of these runs, from 0 to 1';
COMMENT ON COLUMN hublineage.edge_history.most_confidence IS 'the greatest';
COMMENT ON COLUMN hublineage.edge_history.first_at IS 'when the first of them ended';
COMMENT ON COLUMN hublineage.edge_history.last_at IS 'when the last of them ended';
