CREATE VIEW hublineage.models AS
SELECT
    repositories.name AS model,
    sources.name AS source,
    revisions.sha,
    families.name AS family,
    revisions.weights,
    repositories.architectures,
    repositories.model_type,
    repositories.parameters,
    repositories.formats,
    repositories.tags,
    repositories.pipeline_tag,
    repositories.library_name,
    repositories.gated,
    repositories.private,
    repositories.disabled,
    repositories.created_at,
    repositories.last_modified,
    repositories.downloads,
    repositories.likes,
    repositories.head_sha,
    revisions.described_at,
    repositories.removed_at,
    repositories.removed_why,
    CASE WHEN repositories.name LIKE '%/%' THEN split_part(repositories.name, '/', 1) END AS organisation
FROM public.repositories
JOIN public.sources ON sources.id = repositories.source_id
LEFT JOIN public.revisions ON revisions.id = repositories.current_revision_id
LEFT JOIN public.families ON families.id = revisions.family_id;

COMMENT ON VIEW hublineage.models IS 'Every repository of the catalogue with its newest described revision, or the listed one where none is.';
COMMENT ON COLUMN hublineage.models.model IS 'org/name';
COMMENT ON COLUMN hublineage.models.source IS 'the Hub''s address or the folder that it was found in';
COMMENT ON COLUMN hublineage.models.sha IS 'the newest described revision, else the listed one; null where none is known';
COMMENT ON COLUMN hublineage.models.family IS 'the comparable models it belongs to; null where its weights are not comparable';
COMMENT ON COLUMN hublineage.models.weights IS 'safetensors, adapter, none (no safetensors), failed, or unread (listed only)';
COMMENT ON COLUMN hublineage.models.architectures IS 'of its config.json; null where the listing does not carry it';
COMMENT ON COLUMN hublineage.models.parameters IS 'how many, as the source counts them';
COMMENT ON COLUMN hublineage.models.formats IS 'of its weights by the names of its files: safetensors, pytorch, gguf and so on';
COMMENT ON COLUMN hublineage.models.head_sha IS 'the newest commit that a listing told of';
COMMENT ON COLUMN hublineage.models.described_at IS 'when its card, configuration and headers were read; null where only listed';
COMMENT ON COLUMN hublineage.models.removed_at IS 'since when it is gone; all that is known of it stays';
COMMENT ON COLUMN hublineage.models.removed_why IS 'why it counts as gone';
COMMENT ON COLUMN hublineage.models.model_type IS 'of its config.json, such as llama or vit; null where that is not known';
COMMENT ON COLUMN hublineage.models.tags IS 'as the source shows them';
COMMENT ON COLUMN hublineage.models.pipeline_tag IS 'its task, as the source shows it';
COMMENT ON COLUMN hublineage.models.library_name IS 'the library it is for, as the source shows it';
COMMENT ON COLUMN hublineage.models.gated IS 'auto or manual where its files are given on request only; null where they are open';
COMMENT ON COLUMN hublineage.models.private IS 'whether only its owners see it';
COMMENT ON COLUMN hublineage.models.disabled IS 'whether the source has shut it';
COMMENT ON COLUMN hublineage.models.created_at IS 'when the repository was made';
COMMENT ON COLUMN hublineage.models.last_modified IS 'when it changed last';
COMMENT ON COLUMN hublineage.models.downloads IS 'how many the source counted last';
COMMENT ON COLUMN hublineage.models.likes IS 'how many the source counted last';
COMMENT ON COLUMN hublineage.models.organisation IS 'the part of its name before the slash; null where there is none';
