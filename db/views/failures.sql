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
    failures.last_at
FROM public.failures
JOIN public.repositories ON repositories.id = failures.repository_id
WHERE failures.resolved_at IS NULL
  AND (failures.revision_id IS NULL OR failures.revision_id = repositories.current_revision_id);

COMMENT ON VIEW hublineage.failures IS 'What could not be used and why, as long as no later try succeeded.';
COMMENT ON COLUMN hublineage.failures.stage IS 'crawl, card, describe or measure';
COMMENT ON COLUMN hublineage.failures.kind IS 'the class of the error';
