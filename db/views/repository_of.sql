CREATE FUNCTION hublineage_internal.repository_of(wanted text, wanted_source text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    within bigint;
    found_id bigint;
    near text[];
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION 'no model was named' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF wanted_source IS NOT NULL THEN
        SELECT id INTO within FROM public.sources WHERE name = wanted_source;
        IF within IS NULL THEN
            RAISE EXCEPTION 'no source % in the catalogue; it has %', quote_literal(wanted_source),
                (SELECT coalesce(string_agg(name, ', ' ORDER BY name), 'none') FROM public.sources)
                USING ERRCODE = 'no_data_found';
        END IF;
    END IF;
    -- Those that are still there first; of several sources the one where it was found last.
    SELECT id INTO found_id FROM public.repositories
    WHERE name = wanted AND (within IS NULL OR source_id = within)
    ORDER BY removed_at IS NOT NULL, id DESC LIMIT 1;
    IF found_id IS NULL THEN
        SELECT id INTO found_id FROM public.repositories
        WHERE lower(name) = lower(wanted) AND (within IS NULL OR source_id = within)
        ORDER BY removed_at IS NOT NULL, id DESC LIMIT 1;
    END IF;
    IF found_id IS NULL THEN
        SELECT repositories.id INTO found_id
        FROM public.sources
        JOIN public.aliases ON aliases.source_id = sources.id AND lower(aliases.name) = lower(wanted)
        JOIN public.repositories ON repositories.source_id = sources.id AND repositories.hub_id = aliases.hub_id
        WHERE within IS NULL OR sources.id = within
        ORDER BY repositories.removed_at IS NOT NULL, aliases.seen_at DESC LIMIT 1;
    END IF;
    IF found_id IS NULL THEN
        near := hublineage_internal.nearest_names(wanted, within);
        RAISE EXCEPTION 'no model % in the catalogue%', quote_literal(wanted),
            CASE WHEN near = '{}' THEN ', nor a name like it' ELSE '; did you mean ' || array_to_string(near, ' or ') || '?' END
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN found_id;
END
$$;

COMMENT ON FUNCTION hublineage_internal.repository_of IS 'The repository of any name that a model has or had; an error with the nearest names for none.';
