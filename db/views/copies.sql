CREATE VIEW hublineage.copies AS
SELECT
    repositories.name AS model,
    alike.names[1] AS copy_of,
    sources.name AS source,
    alike.count AS copies,
    encode(revisions.weights_digest, 'hex') AS weights_digest
FROM public.repositories
JOIN public.revisions ON revisions.id = repositories.current_revision_id
JOIN public.sources ON sources.id = repositories.source_id
-- Found by the hash of each, so that a model that is named reads its own group alone.
CROSS JOIN LATERAL (
    SELECT array_agg(other.name ORDER BY other.created_at NULLS LAST, other.id) AS names, count(*) AS count
    FROM public.revisions AS equal
    JOIN public.repositories AS other ON other.id = equal.repository_id AND other.current_revision_id = equal.id
    WHERE equal.weights_digest = revisions.weights_digest AND other.source_id = repositories.source_id
) AS alike
WHERE revisions.weights_digest IS NOT NULL AND alike.count > 1 AND repositories.name <> alike.names[1];

COMMENT ON VIEW hublineage.copies IS 'Models whose weight files equal another one''s by their hashes, known without a download.';
COMMENT ON COLUMN hublineage.copies.copy_of IS 'the one of the group that was created first';
COMMENT ON COLUMN hublineage.copies.copies IS 'how many repositories hold these files, the first one too';
COMMENT ON COLUMN hublineage.copies.weights_digest IS 'of the set of the files'' hashes';
COMMENT ON COLUMN hublineage.copies.model IS 'org/name of the copy';
COMMENT ON COLUMN hublineage.copies.source IS 'the Hub''s address or the folder that the model was found in';
