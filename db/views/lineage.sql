CREATE VIEW hublineage.lineage AS
SELECT
    pairs.model,
    pairs.parent,
    CASE
        WHEN pairs.declared_in IS NULL THEN 'inferred'
        WHEN pairs.inferred_relation IS NULL THEN 'declared'
        ELSE 'both'
    END AS known_by,
    pairs.decided IS TRUE OR (
        pairs.declared
        AND coalesce(verdicts.verdict, '') NOT IN ('ancestor', 'reversed', 'sibling', 'contradicted')
        AND NOT EXISTS (
            SELECT
            FROM public.edges
            JOIN public.clusters ON clusters.id = edges.cluster_id
            JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
            WHERE edges.child_id = pairs.revision_id AND edges.decided
        )
    ) AS best,
    CASE
        WHEN verdicts.verdict IN ('ancestor', 'reversed', 'sibling', 'contradicted')
            AND (pairs.declared OR pairs.decided) AND NOT (pairs.declared AND pairs.decided IS TRUE)
        THEN verdicts.verdict
    END AS conflict,
    pairs.declared_in,
    pairs.declared_relations,
    pairs.inferred_relation,
    pairs.confidence,
    pairs.decided,
    pairs.in_catalogue,
    verdicts.verdict,
    verdicts.why,
    pairs.source
FROM (
    SELECT
        known.model,
        known.parent,
        known.revision_id,
        known.source,
        array_agg(DISTINCT known.declared_in ORDER BY known.declared_in)
            FILTER (WHERE known.declared_in IS NOT NULL) AS declared_in,
        array_agg(DISTINCT known.declared_relation ORDER BY known.declared_relation)
            FILTER (WHERE known.declared_relation IS NOT NULL) AS declared_relations,
        bool_or(known.declared) AS declared,
        bool_or(known.in_catalogue) AS in_catalogue,
        max(known.inferred_relation) AS inferred_relation,
        max(known.confidence) AS confidence,
        bool_or(known.decided) AS decided
    FROM (
        SELECT
            child.name AS model,
            parent.name AS parent,
            child.current_revision_id AS revision_id,
            sources.name AS source,
            declared_parents.source AS declared_in,
            declared_parents.relation AS declared_relation,
            declared_parents.source NOT IN ('prose', 'config') AS declared,
            true AS in_catalogue,
            NULL::text AS inferred_relation,
            NULL::double precision AS confidence,
            NULL::boolean AS decided
        FROM public.declared_parents
        JOIN public.repositories AS child ON child.current_revision_id = declared_parents.revision_id
        JOIN public.sources ON sources.id = child.source_id
        JOIN public.repositories AS parent ON parent.id = declared_parents.parent_id
        UNION ALL
        SELECT
            child.name,
            declared_parents.name,
            child.current_revision_id,
            sources.name,
            declared_parents.source,
            declared_parents.relation,
            declared_parents.source NOT IN ('prose', 'config'),
            false,
            NULL,
            NULL,
            NULL
        FROM public.declared_parents
        JOIN public.repositories AS child ON child.current_revision_id = declared_parents.revision_id
        JOIN public.sources ON sources.id = child.source_id
        WHERE declared_parents.parent_id IS NULL AND declared_parents.kind = 'hub'
        UNION ALL
        SELECT
            child.name,
            parent.name,
            child.current_revision_id,
            sources.name,
            NULL,
            NULL,
            false,
            true,
            edges.relation,
            edges.confidence,
            edges.decided
        FROM public.edges
        JOIN public.clusters ON clusters.id = edges.cluster_id
        JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
        JOIN public.revisions AS child_revision ON child_revision.id = edges.child_id
        JOIN public.revisions AS parent_revision ON parent_revision.id = edges.parent_id
        JOIN public.repositories AS child ON child.id = child_revision.repository_id
        JOIN public.sources ON sources.id = child.source_id
        JOIN public.repositories AS parent ON parent.id = parent_revision.repository_id
    ) AS known
    GROUP BY known.model, known.parent, known.revision_id, known.source
) AS pairs
LEFT JOIN public.verdicts ON verdicts.revision_id = pairs.revision_id;

COMMENT ON VIEW hublineage.lineage IS 'All that is known of a model''s parents: a row per model and parent, whoever says so, and whether the sources agree.';
COMMENT ON COLUMN hublineage.lineage.model IS 'org/name of the child';
COMMENT ON COLUMN hublineage.lineage.parent IS 'org/name of the parent: the repository that was meant, else the name as declared';
COMMENT ON COLUMN hublineage.lineage.known_by IS 'declared, inferred or both';
COMMENT ON COLUMN hublineage.lineage.best IS 'whether this is what we take for true: a decided edge; where the model has none, a declaration that nothing contradicts and that is more than a hint';
COMMENT ON COLUMN hublineage.lineage.conflict IS 'ancestor, reversed, sibling or contradicted where card and weights name different parents, on the rows of both; else null';
COMMENT ON COLUMN hublineage.lineage.declared_in IS 'where it is declared: card, baseModels, tags, adapter_config, mergekit, commit, quantization, config or prose; null where nowhere';
COMMENT ON COLUMN hublineage.lineage.declared_relations IS 'the declared relations: finetune, adapter, quantized, merge, duplicate or unknown';
COMMENT ON COLUMN hublineage.lineage.inferred_relation IS 'how the child came of it, by its weights; null where no edge was found';
COMMENT ON COLUMN hublineage.lineage.confidence IS 'probability of the inferred edge with this direction; null where there is none';
COMMENT ON COLUMN hublineage.lineage.decided IS 'whether the inferred edge is above its run''s threshold; null where there is none';
COMMENT ON COLUMN hublineage.lineage.in_catalogue IS 'whether the parent is a repository that we know';
COMMENT ON COLUMN hublineage.lineage.verdict IS 'the verdict on the model, as in verdicts';
COMMENT ON COLUMN hublineage.lineage.why IS 'that verdict in words';
COMMENT ON COLUMN hublineage.lineage.source IS 'the Hub''s address or the folder that the model was found in';
