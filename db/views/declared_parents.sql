CREATE VIEW hublineage.declared_parents AS
SELECT
    child.name AS model,
    declared_parents.name AS parent,
    declared_parents.relation,
    declared_parents.source AS declared_in,
    declared_parents.kind,
    parent.name AS parent_model
FROM public.declared_parents
JOIN public.repositories AS child ON child.current_revision_id = declared_parents.revision_id
LEFT JOIN LATERAL (
    SELECT repositories.name
    FROM public.repositories
    WHERE declared_parents.kind = 'hub'
      AND repositories.source_id = child.source_id
      AND lower(repositories.name) = lower(declared_parents.name)
    ORDER BY repositories.name = declared_parents.name DESC, repositories.id
    LIMIT 1
) AS parent ON true;

COMMENT ON VIEW hublineage.declared_parents IS 'What cards, tags and configurations say of a model''s parents.';
COMMENT ON COLUMN hublineage.declared_parents.parent IS 'the parent as declared';
COMMENT ON COLUMN hublineage.declared_parents.relation IS 'finetune, adapter, quantized, merge, duplicate or unknown';
COMMENT ON COLUMN hublineage.declared_parents.declared_in IS 'where it is declared: card, tags, adapter_config and so on';
COMMENT ON COLUMN hublineage.declared_parents.kind IS 'hub (a repository''s name), local path or invalid';
COMMENT ON COLUMN hublineage.declared_parents.parent_model IS 'the repository that the name stands for; null where the catalogue has none';
