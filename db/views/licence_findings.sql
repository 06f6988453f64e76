CREATE VIEW hublineage.licence_findings AS
SELECT
    repositories.name AS model,
    licence_findings.kind,
    licence_findings.severity,
    licence_findings.path[1] AS ancestor,
    licence_findings.licence,
    licence_findings.path,
    licence_findings.confidence,
    licence_findings.why,
    licence_findings.cite,
    licence_findings.found_at,
    sources.name AS source
FROM public.repositories
JOIN public.licence_findings ON licence_findings.revision_id = repositories.current_revision_id
JOIN public.sources ON sources.id = repositories.source_id;

COMMENT ON VIEW hublineage.licence_findings IS 'What of an ancestor''s licence does not reach a model, by its declared licence and decided edges. A conservative reading; not legal advice.';
COMMENT ON COLUMN hublineage.licence_findings.model IS 'org/name of the model that the finding is about';
COMMENT ON COLUMN hublineage.licence_findings.kind IS 'more-permissive, non-commercial, no-derivatives, share-alike, attribution, naming, missing, incompatible or unclear';
COMMENT ON COLUMN hublineage.licence_findings.severity IS 'conflict (it contradicts a licence), duty (something is to be done) or read (a text is to be read)';
COMMENT ON COLUMN hublineage.licence_findings.ancestor IS 'org/name of the verified ancestor; of several with this licence the surest';
COMMENT ON COLUMN hublineage.licence_findings.licence IS 'the ancestor''s licence, by the Hub''s name; none where it declares none';
COMMENT ON COLUMN hublineage.licence_findings.path IS 'the models of the edges that it rests on, from the ancestor down to the model';
COMMENT ON COLUMN hublineage.licence_findings.confidence IS 'the product of the confidences of these edges';
COMMENT ON COLUMN hublineage.licence_findings.why IS 'the finding in words, with the section of the licence';
COMMENT ON COLUMN hublineage.licence_findings.cite IS 'the address of the licence''s text';
COMMENT ON COLUMN hublineage.licence_findings.found_at IS 'when it was found first';
COMMENT ON COLUMN hublineage.licence_findings.source IS 'the Hub''s address or the folder that the model was found in';
