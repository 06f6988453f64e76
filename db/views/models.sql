CREATE VIEW hublineage.models AS
SELECT
    repositories.name AS model,
    sources.name AS source,
    revisions.sha,
    families.name AS family,
    revisions.weights,
    repositories.architectures,
    repositories.tags,
    repositories.gated,
    repositories.created_at,
    repositories.last_modified,
    repositories.downloads,
    repositories.likes,
    repositories.removed_at
FROM public.repositories
JOIN public.sources ON sources.id = repositories.source_id
LEFT JOIN public.revisions ON revisions.id = repositories.current_revision_id
LEFT JOIN public.families ON families.id = revisions.family_id;

COMMENT ON VIEW hublineage.models IS 'Every repository of the catalogue with its newest described revision.';
COMMENT ON COLUMN hublineage.models.model IS 'org/name';
COMMENT ON COLUMN hublineage.models.source IS 'the Hub''s address or the folder that it was found in';
COMMENT ON COLUMN hublineage.models.sha IS 'the newest described revision; null where it could not be described';
COMMENT ON COLUMN hublineage.models.family IS 'the comparable models it belongs to; null where its weights are not comparable';
COMMENT ON COLUMN hublineage.models.weights IS 'safetensors, adapter, none (no safetensors) or failed';
COMMENT ON COLUMN hublineage.models.removed_at IS 'when a full listing no longer had it';
