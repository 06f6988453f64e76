CREATE VIEW hublineage.verdicts AS
SELECT
    repositories.name AS model,
    verdicts.verdict,
    verdicts.declared,
    verdicts.inferred,
    verdicts.why,
    verdicts.run_id AS run,
    verdicts.compared_at
FROM public.verdicts
JOIN public.repositories ON repositories.current_revision_id = verdicts.revision_id;

COMMENT ON VIEW hublineage.verdicts IS 'Declared against inferred, one row per model.';
COMMENT ON COLUMN hublineage.verdicts.verdict IS 'agrees, ancestor, reversed, sibling, contradicted, undeclared, unmeasured, undecided, root or duplicate';
COMMENT ON COLUMN hublineage.verdicts.why IS 'the verdict in words';
