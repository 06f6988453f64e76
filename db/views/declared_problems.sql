CREATE VIEW hublineage.declared_problems AS
SELECT
    repositories.name AS model,
    declared_problems.kind,
    declared_problems.detail,
    declared_problems.found_at,
    sources.name AS source
FROM public.declared_problems
JOIN public.repositories ON repositories.current_revision_id = declared_problems.revision_id
JOIN public.sources ON sources.id = repositories.source_id;

COMMENT ON VIEW hublineage.declared_problems IS 'What is wrong with the parents that a model declares.';
COMMENT ON COLUMN hublineage.declared_problems.model IS 'org/name of the model that declares them, at its current revision';
COMMENT ON COLUMN hublineage.declared_problems.kind IS 'self-reference, cycle or contradiction';
COMMENT ON COLUMN hublineage.declared_problems.detail IS 'in words: the circle in its order, or what each source says';
COMMENT ON COLUMN hublineage.declared_problems.found_at IS 'when it was found first';
COMMENT ON COLUMN hublineage.declared_problems.source IS 'the Hub''s address or the folder that the model was found in';
