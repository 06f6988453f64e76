CREATE FUNCTION hublineage_internal.begin_walk(
    model text,
    upwards boolean,
    edges text,
    undecided boolean,
    strict boolean,
    source text
) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    repository bigint := hublineage_internal.repository_of(model, source);
    place record;
BEGIN
    IF edges IS NULL OR edges NOT IN ('inferred', 'declared', 'both') THEN
        RAISE EXCEPTION 'edges are inferred, declared or both, not %', quote_nullable(edges)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO place FROM hublineage_internal.place_of(repository);
    IF edges = 'inferred' AND strict AND place.run_id IS NULL THEN
        RAISE EXCEPTION 'nothing is inferred of %: %', model, hublineage_internal.why_no_place(repository)
            USING ERRCODE = 'no_data_found',
                HINT = 'edges => ''declared'' follows what cards say; strict => false passes over such models.';
    END IF;
    IF upwards AND strict AND edges = 'inferred' AND NOT EXISTS (
        SELECT FROM public.edges
        JOIN public.clusters ON clusters.id = edges.cluster_id AND clusters.run_id = place.run_id
        WHERE edges.child_id = place.stands_for_revision AND (edges.decided OR undecided)
    ) THEN
        RAISE NOTICE 'no parent of % is decided: %', model, CASE
            WHEN EXISTS (SELECT FROM public.edges WHERE child_id = place.stands_for_revision)
            THEN 'undecided => true follows those that are likeliest'
            ELSE 'none was found among the models that it is comparable to'
        END;
    END IF;
    RETURN repository;
END
$$;

COMMENT ON FUNCTION hublineage_internal.begin_walk IS 'The repository where a walk begins; errors for what cannot be walked.';
