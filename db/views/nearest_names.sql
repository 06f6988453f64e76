-- No extension for similar text: what stands beside the name in the orders of its indexes, compared by trigrams.
CREATE FUNCTION hublineage_internal.nearest_names(wanted text, source_id bigint) RETURNS text[]
LANGUAGE sql STABLE AS $$
    WITH beside AS (
        (SELECT id FROM public.repositories
         WHERE lower(name) ~>=~ lower(wanted) ORDER BY lower(name) USING ~<~ LIMIT 20)
        UNION
        (SELECT id FROM public.repositories
         WHERE lower(name) ~<~ lower(wanted) ORDER BY lower(name) USING ~>~ LIMIT 20)
        UNION
        (SELECT id FROM public.repositories
         WHERE lower(split_part(name, '/', -1)) ~>=~ lower(split_part(wanted, '/', -1))
         ORDER BY lower(split_part(name, '/', -1)) USING ~<~ LIMIT 20)
        UNION
        (SELECT id FROM public.repositories
         WHERE lower(split_part(name, '/', -1)) ~<~ lower(split_part(wanted, '/', -1))
         ORDER BY lower(split_part(name, '/', -1)) USING ~>~ LIMIT 20)
        UNION  -- of the same organisation, whose models may differ in their first letter; '0' follows '/'
        (SELECT id FROM public.repositories
         WHERE wanted LIKE '%/%'
           AND lower(name) ~>=~ (lower(split_part(wanted, '/', 1)) || '/')
           AND lower(name) ~<~ (lower(split_part(wanted, '/', 1)) || '0')
         ORDER BY lower(name) USING ~<~ LIMIT 60)
    ),
    names AS (
        SELECT DISTINCT repositories.name
        FROM beside JOIN public.repositories USING (id)
        WHERE repositories.removed_at IS NULL
          AND (nearest_names.source_id IS NULL OR repositories.source_id = nearest_names.source_id)
    ),
    texts AS (
        SELECT NULL AS name, part, '  ' || part_of || ' ' AS padded
        FROM (VALUES ('whole', lower(wanted)), ('last', lower(split_part(wanted, '/', -1)))) AS asked (part, part_of)
        UNION ALL
        SELECT names.name, known.part, '  ' || known.part_of || ' '
        FROM names, LATERAL (
            VALUES ('whole', lower(names.name)), ('last', lower(split_part(names.name, '/', -1)))
        ) AS known (part, part_of)
    ),
    trigrams AS (
        SELECT DISTINCT name, part, substr(padded, place, 3) AS trigram
        FROM texts, generate_series(1, length(padded) - 2) AS place
    ),
    sizes AS (
        SELECT name, part, count(*) AS size FROM trigrams GROUP BY name, part
    ),
    shared AS (
        SELECT known.name, known.part, count(*) AS size
        FROM trigrams AS asked JOIN trigrams AS known USING (part, trigram)
        WHERE asked.name IS NULL AND known.name IS NOT NULL
        GROUP BY known.name, known.part
    ),
    likeness AS (
        SELECT shared.name, max(shared.size::double precision / (own.size + asked.size - shared.size)) AS likeness
        FROM shared
        JOIN sizes AS own ON own.name = shared.name AND own.part = shared.part
        JOIN sizes AS asked ON asked.name IS NULL AND asked.part = shared.part
        GROUP BY shared.name
    )
    SELECT coalesce(array_agg(name ORDER BY likeness DESC, name), '{}')
    FROM (SELECT name, likeness FROM likeness WHERE likeness > 0.25 ORDER BY likeness DESC, name LIMIT 3) AS best
$$;

COMMENT ON FUNCTION hublineage_internal.nearest_names IS 'At most three names of models like this one, the most like it first.';
