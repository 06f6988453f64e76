CREATE VIEW hublineage.licences AS
SELECT
    repositories.name AS model,
    licences.declared,
    licences.licences,
    licences.name,
    licences.link,
    licences.declared_in,
    licences.ancestors,
    licences.unchecked,
    licences.compared_at,
    sources.name AS source
FROM public.repositories
JOIN public.licences ON licences.revision_id = repositories.current_revision_id
JOIN public.sources ON sources.id = repositories.source_id;

COMMENT ON VIEW hublineage.licences IS 'What models declare as their licence, and the licences of their verified ancestors. Not legal advice.';
COMMENT ON COLUMN hublineage.licences.model IS 'org/name';
COMMENT ON COLUMN hublineage.licences.declared IS 'as written in the card or the tags; empty where nothing is';
COMMENT ON COLUMN hublineage.licences.licences IS 'the licences that this names, by the Hub''s names; all of a choice or a list';
COMMENT ON COLUMN hublineage.licences.name IS 'license_name of the card';
COMMENT ON COLUMN hublineage.licences.link IS 'license_link of the card';
COMMENT ON COLUMN hublineage.licences.declared_in IS 'card or tags; null where no licence is declared';
COMMENT ON COLUMN hublineage.licences.ancestors IS 'by decided edges, the surest 50 first: model, declared, licences, path (from it down to the model), relations and confidence (their product)';
COMMENT ON COLUMN hublineage.licences.unchecked IS 'why the model has no verified ancestors, in words; null where it has';
COMMENT ON COLUMN hublineage.licences.compared_at IS 'when this was found first';
COMMENT ON COLUMN hublineage.licences.source IS 'the Hub''s address or the folder that the model was found in';
