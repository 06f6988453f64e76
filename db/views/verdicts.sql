CREATE VIEW hublineage.verdicts AS
SELECT
    repositories.name AS model,
    verdicts.verdict,
    verdicts.declared,
    verdicts.inferred,
    verdicts.why,
    verdicts.run_id AS run,
    verdicts.compared_at,
    sources.name AS source
FROM public.verdicts
JOIN public.repositories ON repositories.current_revision_id = verdicts.revision_id
JOIN public.sources ON sources.id = repositories.source_id;

COMMENT ON VIEW hublineage.verdicts IS 'Declared against inferred, one row per model.';
COMMENT ON COLUMN hublineage.verdicts.verdict IS 'agrees, ancestor, reversed, sibling, contradicted, undeclared, unmeasured, undecided, root or duplicate';
COMMENT ON COLUMN hublineage.verdicts.why IS 'the verdict in words';
COMMENT ON COLUMN hublineage.verdicts.model IS 'org/name';
COMMENT ON COLUMN hublineage.verdicts.declared IS 'the parents that it declares, as declared';
COMMENT ON COLUMN hublineage.verdicts.inferred IS 'the parents that its weights show, decided or not';
COMMENT ON COLUMN hublineage.verdicts.run IS 'the inference that it was held against; null for models without';
COMMENT ON COLUMN hublineage.verdicts.compared_at IS 'when this verdict was first given';
COMMENT ON COLUMN hublineage.verdicts.source IS 'the Hub''s address or the folder that the model was found in';
