CREATE VIEW hublineage.duplicates AS
SELECT
    copy.name AS model,
    original.name AS duplicate_of,
    runs.id AS run,
    sources.name AS source
FROM public.duplicates
JOIN public.runs ON runs.id = duplicates.run_id AND runs.is_current
JOIN public.revisions AS copy_revision ON copy_revision.id = duplicates.revision_id
JOIN public.revisions AS original_revision ON original_revision.id = duplicates.of_id
JOIN public.repositories AS copy ON copy.id = copy_revision.repository_id
JOIN public.repositories AS original ON original.id = original_revision.repository_id
JOIN public.sources ON sources.id = copy.source_id;

COMMENT ON VIEW hublineage.duplicates IS 'Models with the same numbers in every tensor as another one.';
COMMENT ON COLUMN hublineage.duplicates.duplicate_of IS 'the member of the group that stands in the tree; weights cannot tell which came first';
COMMENT ON COLUMN hublineage.duplicates.model IS 'org/name of the copy';
COMMENT ON COLUMN hublineage.duplicates.run IS 'the inference that found it';
COMMENT ON COLUMN hublineage.duplicates.source IS 'the Hub''s address or the folder that the model was found in';
