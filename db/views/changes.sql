CREATE VIEW hublineage.changes AS
SELECT
    repositories.name AS model,
    sources.name AS source,
    repository_changes.at,
    repository_changes.what,
    repository_changes.before,
    repository_changes.after
FROM public.repository_changes
JOIN public.repositories ON repositories.id = repository_changes.repository_id
JOIN public.sources ON sources.id = repositories.source_id;

COMMENT ON VIEW hublineage.changes IS 'What happened to repositories beside new commits, as crawls found it.';
COMMENT ON COLUMN hublineage.changes.model IS 'its name now, or the last one it had';
COMMENT ON COLUMN hublineage.changes.at IS 'when a crawl saw it';
COMMENT ON COLUMN hublineage.changes.what IS 'name, private, gated, disabled or removed';
COMMENT ON COLUMN hublineage.changes.before IS 'the value before; of removed why it was gone, null where it was there';
COMMENT ON COLUMN hublineage.changes.after IS 'the value after; of removed null where it is back';
COMMENT ON COLUMN hublineage.changes.source IS 'the Hub''s address or the folder that the model was found in';
