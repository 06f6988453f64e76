CREATE VIEW hublineage.revisions AS
SELECT
    repositories.name AS model,
    sources.name AS source,
    revisions.sha,
    coalesce(revisions.id = repositories.current_revision_id, false) AS is_current,
    revisions.weights,
    families.name AS family,
    encode(revisions.weights_digest, 'hex') AS weights_digest,
    revisions.config,
    revisions.card_data,
    revisions.first_seen,
    revisions.described_at
FROM public.revisions
JOIN public.repositories ON repositories.id = revisions.repository_id
JOIN public.sources ON sources.id = repositories.source_id
LEFT JOIN public.families ON families.id = revisions.family_id;

COMMENT ON VIEW hublineage.revisions IS 'Every commit of every repository that a crawl saw.';
COMMENT ON COLUMN hublineage.revisions.sha IS 'the commit';
COMMENT ON COLUMN hublineage.revisions.is_current IS 'whether what is known of the model is taken from this revision';
COMMENT ON COLUMN hublineage.revisions.weights IS 'safetensors, adapter, none (no safetensors), failed, or unread (listed only)';
COMMENT ON COLUMN hublineage.revisions.weights_digest IS 'of the set of its weight files'' hashes: equal for exact copies';
COMMENT ON COLUMN hublineage.revisions.config IS 'config.json as far as it is known';
COMMENT ON COLUMN hublineage.revisions.card_data IS 'the header of the card; of unread revisions only what tells of parents and licences';
COMMENT ON COLUMN hublineage.revisions.described_at IS 'when its card, configuration and headers were read; null where only listed';
COMMENT ON COLUMN hublineage.revisions.model IS 'org/name';
COMMENT ON COLUMN hublineage.revisions.source IS 'the Hub''s address or the folder that the model was found in';
COMMENT ON COLUMN hublineage.revisions.family IS 'the comparable models it belongs to; null where its weights are not comparable';
COMMENT ON COLUMN hublineage.revisions.first_seen IS 'when a crawl saw it first';
