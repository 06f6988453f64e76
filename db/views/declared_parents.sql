CREATE VIEW hublineage.declared_parents AS
SELECT
    child.name AS model,
    declared_parents.name AS parent,
    declared_parents.relation,
    declared_parents.source AS declared_in,
    declared_parents.source IN ('prose', 'config') AS weak,
    declared_parents.kind,
    declared_parents.resolution,
    parent.name AS parent_model,
    aliases.target AS leads_to,
    declared_parents.weight,
    declared_parents.layers,
    declared_parents.detail,
    sources.name AS source
FROM public.declared_parents
JOIN public.repositories AS child ON child.current_revision_id = declared_parents.revision_id
JOIN public.sources ON sources.id = child.source_id
LEFT JOIN public.repositories AS parent ON parent.id = declared_parents.parent_id
LEFT JOIN public.aliases ON aliases.source_id = child.source_id AND aliases.name = declared_parents.name
    AND declared_parents.resolution = 'dangling';

COMMENT ON VIEW hublineage.declared_parents IS 'What cards, tags and configurations say of a model''s parents.';
COMMENT ON COLUMN hublineage.declared_parents.model IS 'org/name of the model that declares it, at its current revision';
COMMENT ON COLUMN hublineage.declared_parents.parent IS 'the parent as declared';
COMMENT ON COLUMN hublineage.declared_parents.relation IS 'finetune, adapter, quantized, merge, duplicate or unknown';
COMMENT ON COLUMN hublineage.declared_parents.declared_in IS 'card, baseModels, tags, adapter_config, mergekit, commit, quantization, config or prose';
COMMENT ON COLUMN hublineage.declared_parents.weak IS 'a hint rather than a declaration: the card''s prose, or the path that config.json was loaded from';
COMMENT ON COLUMN hublineage.declared_parents.kind IS 'hub (a repository''s name), local path or invalid';
COMMENT ON COLUMN hublineage.declared_parents.resolution IS 'how the name was found: exact, case, renamed or dangling; null where it is no repository''s name';
COMMENT ON COLUMN hublineage.declared_parents.parent_model IS 'the repository that the name stands for; null where the catalogue has none';
COMMENT ON COLUMN hublineage.declared_parents.weight IS 'its share of a merge, where one number says it';
COMMENT ON COLUMN hublineage.declared_parents.layers IS 'the ranges of its layers that a merge takes: [[first, behind the last], ...]';
COMMENT ON COLUMN hublineage.declared_parents.detail IS 'what else the source says: revision, a merge''s method, role and parameters, a relation that we do not know';
COMMENT ON COLUMN hublineage.declared_parents.leads_to IS 'of dangling names: the repository outside of the catalogue that the source leads to; null where it knows none';
COMMENT ON COLUMN hublineage.declared_parents.source IS 'the Hub''s address or the folder that the model was found in';
