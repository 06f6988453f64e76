CREATE VIEW hublineage.disagreements AS
SELECT
    repositories.name AS model,
    CASE WHEN repositories.name LIKE '%/%' THEN split_part(repositories.name, '/', 1) END AS organisation,
    verdicts.verdict,
    verdicts.declared,
    verdicts.inferred,
    (
        SELECT max(edges.confidence)
        FROM public.edges
        JOIN public.clusters ON clusters.id = edges.cluster_id
        WHERE edges.child_id = verdicts.revision_id AND clusters.run_id = verdicts.run_id AND edges.decided
    ) AS confidence,
    verdicts.why,
    repositories.downloads,
    verdicts.run_id AS run,
    sources.name AS source
FROM public.verdicts
JOIN public.repositories ON repositories.current_revision_id = verdicts.revision_id
JOIN public.sources ON sources.id = repositories.source_id
WHERE verdicts.verdict IN ('ancestor', 'reversed', 'sibling', 'contradicted', 'undeclared')
  AND repositories.removed_at IS NULL;

COMMENT ON VIEW hublineage.disagreements IS 'Models whose card says something else than their weights, or nothing where the weights show a parent; those that are gone are left out.';
COMMENT ON COLUMN hublineage.disagreements.model IS 'org/name';
COMMENT ON COLUMN hublineage.disagreements.organisation IS 'the part of its name before the slash; null where there is none';
COMMENT ON COLUMN hublineage.disagreements.verdict IS 'ancestor, reversed, sibling, contradicted or undeclared';
COMMENT ON COLUMN hublineage.disagreements.declared IS 'the parents that it declares, as declared';
COMMENT ON COLUMN hublineage.disagreements.inferred IS 'the parents that its weights show, decided or not';
COMMENT ON COLUMN hublineage.disagreements.confidence IS 'probability of its surest decided parent; null where none is decided';
COMMENT ON COLUMN hublineage.disagreements.why IS 'the verdict in words';
COMMENT ON COLUMN hublineage.disagreements.downloads IS 'how many the source counted last';
COMMENT ON COLUMN hublineage.disagreements.run IS 'the inference that the card was held against';
COMMENT ON COLUMN hublineage.disagreements.source IS 'the Hub''s address or the folder that the model was found in';
