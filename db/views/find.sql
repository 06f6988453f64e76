CREATE FUNCTION hublineage.find(model text, source text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT name FROM public.repositories WHERE id = hublineage_internal.repository_of(model, source)
$$;

COMMENT ON FUNCTION hublineage.find IS 'The exact name of a model, by any name that it has or had, in whatever letters; an error with the nearest names for one that the catalogue does not know. WHERE model = hublineage.find(''...'') never answers with nothing because of a slip.';
