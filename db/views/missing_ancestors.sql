CREATE VIEW hublineage.missing_ancestors AS
SELECT
    format('?%s.%s', shown.cluster_id, shown.number) AS node,
    shown.run,
    shown.tree,
    shown.number AS parent,
    families.name AS family,
    shown.children,
    shown.distances,
    shown.below,
    coalesce(named.candidates, '[]') AS candidates,
    sources.name AS source
FROM (
    SELECT
        absent_parents.cluster_id,
        absent_parents.number,
        runs.id AS run,
        runs.family_id,
        clusters.position AS tree,
        array_agg(child.name ORDER BY child.name) AS children,
        array_agg(sqrt(absent_parents.squared_distance) ORDER BY child.name) AS distances,
        -- A child's parent that is no sibling of it stands above the absent parent.
        (
            SELECT min(above.name)
            FROM public.absent_parents AS sibling
            JOIN public.edges ON edges.cluster_id = sibling.cluster_id AND edges.child_id = sibling.child_id
                AND edges.relation <> 'duplicate'
            JOIN public.revisions AS above_revision ON above_revision.id = edges.parent_id
            JOIN public.repositories AS above ON above.id = above_revision.repository_id
            WHERE sibling.cluster_id = absent_parents.cluster_id AND sibling.number = absent_parents.number
              AND edges.parent_id <> ALL (array_agg(absent_parents.child_id))
        ) AS below
    FROM public.absent_parents
    JOIN public.clusters ON clusters.id = absent_parents.cluster_id
    JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
    JOIN public.revisions ON revisions.id = absent_parents.child_id
    JOIN public.repositories AS child ON child.id = revisions.repository_id
    -- By its run too, so that to ask for one run reads no other.
    GROUP BY absent_parents.cluster_id, absent_parents.number, clusters.position, runs.id
) AS shown
JOIN public.families ON families.id = shown.family_id
JOIN public.sources ON sources.id = families.source_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(
        jsonb_build_object('name', one.name, 'named_by', one.named_by, 'state', one.state)
        ORDER BY cardinality(one.named_by) DESC, one.name
    ) AS candidates
    FROM (
        SELECT
            coalesce(parent.name, mode() WITHIN GROUP (ORDER BY declared_parents.name)) AS name,
            array_agg(DISTINCT child.name ORDER BY child.name) AS named_by,
            CASE
                WHEN parent.id IS NULL THEN 'not in the catalogue'
                WHEN parent.removed_at IS NOT NULL THEN 'removed'
                WHEN parent.gated IS NOT NULL THEN 'gated'
                WHEN parent.disabled THEN 'disabled'
                ELSE 'not measured'
            END AS state
        FROM public.absent_parents
        JOIN public.declared_parents ON declared_parents.revision_id = absent_parents.child_id
        JOIN public.revisions ON revisions.id = absent_parents.child_id
        JOIN public.repositories AS child ON child.id = revisions.repository_id
        LEFT JOIN public.repositories AS parent ON parent.id = declared_parents.parent_id
        WHERE absent_parents.cluster_id = shown.cluster_id AND absent_parents.number = shown.number
          AND declared_parents.kind = 'hub' AND parent.id IS DISTINCT FROM child.id
          AND lower(declared_parents.name) <> lower(child.name)
          AND NOT EXISTS (
              SELECT FROM public.cluster_members
              WHERE cluster_members.run_id = shown.run AND cluster_members.revision_id = parent.current_revision_id
          )
        GROUP BY parent.id, parent.name, parent.removed_at, parent.gated, parent.disabled,
            CASE WHEN parent.id IS NULL THEN lower(declared_parents.name) END
    ) AS one
) AS named ON true;

COMMENT ON VIEW hublineage.missing_ancestors IS 'Parents that siblings show and the catalogue does not have: a row per unnamed node of the current trees.';
COMMENT ON COLUMN hublineage.missing_ancestors.node IS 'what stands for its name';
COMMENT ON COLUMN hublineage.missing_ancestors.run IS 'the inference that found it';
COMMENT ON COLUMN hublineage.missing_ancestors.tree IS 'the number of the tree in its run';
COMMENT ON COLUMN hublineage.missing_ancestors.parent IS 'the number of the absent parent in its tree';
COMMENT ON COLUMN hublineage.missing_ancestors.family IS 'the comparable models that it must belong to';
COMMENT ON COLUMN hublineage.missing_ancestors.children IS 'its children, by name';
COMMENT ON COLUMN hublineage.missing_ancestors.distances IS 'how far each child is from it, in the order of children: Euclidean, over all compared weights, estimated from the distances among the children; null where the run did not keep it';
COMMENT ON COLUMN hublineage.missing_ancestors.below IS 'the model above it in its tree; null where it is the root';
COMMENT ON COLUMN hublineage.missing_ancestors.candidates IS 'names that it may have: declared by its children and not compared with them. name, named_by (the children) and state (not in the catalogue, removed, gated, disabled or not measured), most named first';
COMMENT ON COLUMN hublineage.missing_ancestors.source IS 'the Hub''s address or the folder that the family was found in';
