CREATE VIEW hublineage.trees AS
SELECT
    (SELECT families.name FROM public.families WHERE families.id = runs.family_id) AS family,
    clusters.position AS tree,
    repositories.name AS node,
    repositories.name AS model,
    CASE
        WHEN duplicates.of_id IS NOT NULL THEN 'duplicate'
        WHEN cluster_members.revision_id = clusters.root_revision_id THEN 'root'
        ELSE 'member'
    END AS role,
    coalesce(above.parents, '{}') AS parents,
    above.decided,
    above.confidence,
    clusters.root_confidence,
    (SELECT count(*) FROM public.cluster_members AS members WHERE members.cluster_id = clusters.id) AS models,
    runs.id AS run,
    (SELECT sources.name FROM public.sources WHERE sources.id = repositories.source_id) AS source
FROM public.cluster_members
JOIN public.clusters ON clusters.id = cluster_members.cluster_id
JOIN public.runs ON runs.id = cluster_members.run_id AND runs.is_current
JOIN public.revisions ON revisions.id = cluster_members.revision_id
JOIN public.repositories ON repositories.id = revisions.repository_id
LEFT JOIN public.duplicates ON duplicates.run_id = runs.id AND duplicates.revision_id = cluster_members.revision_id
CROSS JOIN LATERAL (
    SELECT
        array_agg(parents.name ORDER BY parents.confidence DESC NULLS LAST, parents.name) AS parents,
        bool_and(parents.decided) AS decided,
        min(parents.confidence) AS confidence
    FROM (
        SELECT parent.name, edges.confidence, edges.decided
        FROM public.edges
        JOIN public.revisions AS parent_revision ON parent_revision.id = edges.parent_id
        JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id
        WHERE edges.child_id = cluster_members.revision_id AND edges.cluster_id = cluster_members.cluster_id
        UNION ALL
        SELECT 'absent parent ' || absent_parents.number, NULL, NULL
        FROM public.absent_parents
        WHERE absent_parents.child_id = cluster_members.revision_id
          AND absent_parents.cluster_id = cluster_members.cluster_id
    ) AS parents
) AS above
UNION ALL
SELECT
    families.name,
    clusters.position,
    'absent parent ' || absent.number,
    NULL,
    'absent parent',
    '{}',
    NULL,
    NULL,
    clusters.root_confidence,
    (SELECT count(*) FROM public.cluster_members AS members WHERE members.cluster_id = clusters.id),
    runs.id,
    sources.name
FROM (SELECT DISTINCT cluster_id, number FROM public.absent_parents) AS absent
JOIN public.clusters ON clusters.id = absent.cluster_id
JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
JOIN public.families ON families.id = runs.family_id
JOIN public.sources ON sources.id = families.source_id;

COMMENT ON VIEW hublineage.trees IS 'The model trees of the current runs: a row per member, and one per parent that must exist but is not in the catalogue.';
COMMENT ON COLUMN hublineage.trees.family IS 'the comparable models that the tree is of';
COMMENT ON COLUMN hublineage.trees.tree IS 'the number of the tree in its run';
COMMENT ON COLUMN hublineage.trees.node IS 'org/name, or "absent parent" and its number in the tree';
COMMENT ON COLUMN hublineage.trees.model IS 'org/name; null for absent parents';
COMMENT ON COLUMN hublineage.trees.role IS 'root, member, duplicate (of a member, which stands for it) or absent parent';
COMMENT ON COLUMN hublineage.trees.parents IS 'the nodes above it, the surest first: one, several for a merge, none for a root';
COMMENT ON COLUMN hublineage.trees.decided IS 'whether all edges to its parents are decided; null where there are none';
COMMENT ON COLUMN hublineage.trees.confidence IS 'probability of the least sure of these edges; null where there are none';
COMMENT ON COLUMN hublineage.trees.root_confidence IS 'probability that the tree''s root is its root';
COMMENT ON COLUMN hublineage.trees.models IS 'how many models the tree has';
COMMENT ON COLUMN hublineage.trees.run IS 'the inference that found it';
COMMENT ON COLUMN hublineage.trees.source IS 'the Hub''s address or the folder of its models';
