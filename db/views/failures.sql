CREATE VIEW hublineage.failures AS
SELECT
    repositories.name AS model,
    failures.stage,
    failures.kind,
    failures.file,
    failures.tensor,
    failures.reason,
    failures.attempts,
    failures.first_at,
    failures.last_at,
    sources.name AS source
FROM public.failures
JOIN public.repositories ON repositories.id = failures.repository_id
JOIN public.sources ON sources.id = repositories.source_id
WHERE failures.resolved_at IS NULL
  AND (failures.revision_id IS NULL OR failures.revision_id = repositories.current_revision_id);

COMMENT ON VIEW hublineage.failures IS 'What could not be used and why, as long as no later try succeeded.';
COMMENT ON COLUMN hublineage.failures.stage IS 'crawl, card, describe or measure';
COMMENT ON COLUMN hublineage.failures.kind IS 'the class of the error';
COMMENT ON COLUMN hublineage.failures.model IS 'org/name';
COMMENT ON COLUMN hublineage.failures.file IS 'the file that could not be used; null where it is the whole repository';
COMMENT ON COLUMN hublineage.failures.tensor IS 'the tensor in that file; null where it is the whole file';
COMMENT ON COLUMN hublineage.failures.reason IS 'what was wrong, in words';
COMMENT ON COLUMN hublineage.failures.attempts IS 'how often it was tried';
COMMENT ON COLUMN hublineage.failures.first_at IS 'when it failed first';
COMMENT ON COLUMN hublineage.failures.last_at IS 'when it failed last';
COMMENT ON COLUMN hublineage.failures.source IS 'the Hub''s address or the folder that the model was found in';
