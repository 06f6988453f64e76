CREATE VIEW hublineage.copies AS
SELECT
    copies.name AS model,
    copies.original AS copy_of,
    copies.source,
    copies.count AS copies,
    copies.weights_digest
FROM (
    SELECT
        repositories.name,
        sources.name AS source,
        first_value(repositories.name) OVER earliest AS original,
        count(*) OVER (PARTITION BY sources.id, revisions.weights_digest) AS count,
        encode(revisions.weights_digest, 'hex') AS weights_digest
    FROM public.repositories
    JOIN public.revisions ON revisions.id = repositories.current_revision_id
    JOIN public.sources ON sources.id = repositories.source_id
    WHERE revisions.weights_digest IS NOT NULL
    WINDOW earliest AS (
        PARTITION BY sources.id, revisions.weights_digest ORDER BY repositories.created_at NULLS LAST, repositories.id
    )
) AS copies
WHERE copies.count > 1 AND copies.name <> copies.original;

COMMENT ON VIEW hublineage.copies IS 'Models whose weight files equal another one''s by their hashes, known without a download.';
COMMENT ON COLUMN hublineage.copies.copy_of IS 'the one of the group that was created first';
COMMENT ON COLUMN hublineage.copies.copies IS 'how many repositories hold these files, the first one too';
COMMENT ON COLUMN hublineage.copies.weights_digest IS 'of the set of the files'' hashes';
COMMENT ON COLUMN hublineage.copies.model IS 'org/name of the copy';
COMMENT ON COLUMN hublineage.copies.source IS 'the Hub''s address or the folder that the model was found in';
