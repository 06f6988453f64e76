CREATE FUNCTION hublineage_internal.why_no_place(repository bigint) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN revisions.id IS NULL THEN 'it was never read'
        WHEN revisions.weights = 'unread' THEN 'only its listing is known, its weights were not read'
        WHEN failure.reason IS NOT NULL THEN failure.reason
        WHEN revisions.weights = 'adapter'
        THEN 'it is an adapter, which holds only a difference and cannot be compared with whole models'
        WHEN revisions.weights = 'none' THEN 'it has no safetensors weights'
        WHEN revisions.weights = 'failed' THEN 'its weights could not be read'
        WHEN families.id IS NULL THEN 'its weights are not comparable with those of any other model'
        WHEN NOT measured.begun THEN 'its family ' || families.name || ' was never measured'
        WHEN NOT measured.whole THEN 'measuring its family ' || families.name || ' goes on, or was interrupted: the next run goes on there'
        WHEN NOT EXISTS (SELECT FROM public.runs WHERE runs.family_id = families.id AND runs.is_current)
        THEN 'its family ' || families.name || ' was measured, but never inferred'
        ELSE 'it came to its family ' || families.name || ' after the last inference'
    END
    FROM public.repositories
    LEFT JOIN public.revisions ON revisions.id = repositories.current_revision_id
    LEFT JOIN public.families ON families.id = revisions.family_id
    LEFT JOIN LATERAL (
        SELECT concat_ws(': ', nullif(concat_ws(' ', failures.file, failures.tensor), ''), failures.reason) AS reason
        FROM public.failures
        WHERE failures.repository_id = repositories.id AND failures.resolved_at IS NULL AND failures.stage <> 'card'
          AND (failures.revision_id IS NULL OR failures.revision_id = repositories.current_revision_id)
        ORDER BY failures.id LIMIT 1
    ) AS failure ON true
    CROSS JOIN LATERAL (
        SELECT count(*) > 0 AS begun, coalesce(bool_or(batches.finished_at IS NOT NULL), false) AS whole
        FROM public.measure_batches AS batches
        WHERE batches.family_id = families.id
    ) AS measured
    WHERE repositories.id = why_no_place.repository
$$;

COMMENT ON FUNCTION hublineage_internal.why_no_place IS 'Why no current run has a place for a repository, in words.';
