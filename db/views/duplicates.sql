CREATE VIEW hublineage.duplicates AS
SELECT
    copy.name AS model,
    original.name AS duplicate_of,
    runs.id AS run
FROM public.duplicates
JOIN public.runs ON runs.id = duplicates.run_id AND runs.is_current
JOIN public.revisions AS copy_revision ON copy_revision.id = duplicates.revision_id
JOIN public.revisions AS original_revision ON original_revision.id = duplicates.of_id
JOIN public.repositories AS copy ON copy.id = copy_revision.repository_id
JOIN public.repositories AS original ON original.id = original_revision.repository_id;

COMMENT ON VIEW hublineage.duplicates IS 'Models with the same numbers in every tensor as another one.';
COMMENT ON COLUMN hublineage.duplicates.duplicate_of IS 'the member of the group that stands in the tree; weights cannot tell which came first';
