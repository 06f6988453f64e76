-- Packed as lineage.packed does: of a batch's m members and n older ones first m x n pairs row by row, then the upper
-- triangle of m x m row by row, as little-endian float64, which SQL has to take apart into sign, exponent and fraction.
CREATE FUNCTION hublineage.nearest(model text, k integer DEFAULT 10, source text DEFAULT NULL) RETURNS TABLE (
    place bigint,
    neighbour text,
    distance double precision,
    relative double precision,
    layers bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    repository bigint := hublineage_internal.repository_of(model, source);
    own record;
    whose bigint;
    kin bigint;
    version bigint;
BEGIN
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k is how many neighbours are wanted: at least 1, not %', quote_nullable(k)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO own FROM hublineage_internal.place_of(repository);
    SELECT coalesce(measured.id, own.stands_for_revision), revisions.family_id INTO whose, kin
    FROM public.repositories
    JOIN public.revisions ON revisions.id = repositories.current_revision_id
    LEFT JOIN LATERAL (
        SELECT revisions.id FROM public.measure_batches AS batch
        WHERE batch.family_id = revisions.family_id AND batch.finished_at IS NOT NULL
          AND revisions.id = ANY (batch.members) AND revisions.id <> ALL (batch.lost)
        LIMIT 1
    ) AS measured ON true
    WHERE repositories.id = repository;
    SELECT max(metric_version) INTO version FROM public.measure_batches AS batch
    WHERE batch.family_id = kin AND batch.finished_at IS NOT NULL
      AND whose = ANY (batch.members) AND whose <> ALL (batch.lost);
    IF version IS NULL THEN
        RAISE EXCEPTION 'nothing was measured of %: %', model, hublineage_internal.why_no_place(repository)
            USING ERRCODE = 'no_data_found';
    END IF;
    RETURN QUERY
    WITH batches AS MATERIALIZED (
        SELECT
            batch.id,
            batch.members,
            cardinality(batch.members) AS size,
            cardinality(batch.against) AS old,
            array_position(batch.members, whose) - 1 AS own,
            array_position(batch.against, whose) - 1 AS own_old,
            batch.against,
            batch.lost
        FROM public.measure_batches AS batch
        WHERE batch.family_id = kin AND batch.metric_version = version AND batch.finished_at IS NOT NULL
          AND whose <> ALL (batch.lost) AND (whose = ANY (batch.members) OR whose = ANY (batch.against))
    ),
    pairs AS MATERIALIZED (  -- another member, and where the pair with it stands among the batch's numbers
        SELECT batches.id AS batch_id, other.revision_id, CASE
            WHEN other.number - 1 < batches.own
            THEN batches.size * batches.old + (other.number - 1) * (2 * batches.size - other.number) / 2
                + batches.own - other.number
            ELSE batches.size * batches.old + batches.own * (2 * batches.size - batches.own - 1) / 2
                + other.number - 2 - batches.own
        END AS index
        FROM batches, unnest(batches.members) WITH ORDINALITY AS other (revision_id, number)
        WHERE batches.own IS NOT NULL AND other.revision_id <> whose AND other.revision_id <> ALL (batches.lost)
        UNION ALL
        SELECT batches.id, other.revision_id, batches.own * batches.old + other.number - 1
        FROM batches, unnest(batches.against) WITH ORDINALITY AS other (revision_id, number)
        WHERE batches.own IS NOT NULL AND other.revision_id <> ALL (batches.lost)
        UNION ALL
        SELECT batches.id, other.revision_id, (other.number - 1) * batches.old + batches.own_old
        FROM batches, unnest(batches.members) WITH ORDINALITY AS other (revision_id, number)
        WHERE batches.own_old IS NOT NULL AND other.revision_id <> ALL (batches.lost)
    ),
    layers AS MATERIALIZED (  -- || makes one copy in memory of what is stored in pieces
        SELECT measures.batch_id, measures.layer_id, measures.squared_distance || ''::bytea AS data
        FROM batches
        JOIN public.layer_measures AS measures ON measures.batch_id = batches.id
        JOIN public.family_layers AS layer ON layer.id = measures.layer_id AND layer.kind = 'trunk'
    ),
    norms AS MATERIALIZED (
        SELECT DISTINCT ON (measures.layer_id) measures.layer_id, measures.squared_norm[batches.own + 1] AS squared_norm
        FROM batches
        JOIN public.layer_measures AS measures ON measures.batch_id = batches.id
        WHERE batches.own IS NOT NULL
        ORDER BY measures.layer_id, batches.id DESC
    ),
    bits AS (
        SELECT pairs.batch_id, layers.layer_id, pairs.revision_id,
            (get_byte(layers.data, first + 7)::bigint << 56) | (get_byte(layers.data, first + 6)::bigint << 48)
            | (get_byte(layers.data, first + 5)::bigint << 40) | (get_byte(layers.data, first + 4)::bigint << 32)
            | (get_byte(layers.data, first + 3)::bigint << 24) | (get_byte(layers.data, first + 2)::bigint << 16)
            | (get_byte(layers.data, first + 1)::bigint << 8) | get_byte(layers.data, first)::bigint AS bits
        FROM layers
        JOIN pairs ON pairs.batch_id = layers.batch_id
        CROSS JOIN LATERAL (SELECT (pairs.index * 8)::integer AS first) AS place
    ),
    squares AS (
        SELECT DISTINCT ON (bits.revision_id, bits.layer_id) bits.revision_id, bits.layer_id,
            (bits.bits & 4503599627370495 | CASE (bits.bits >> 52) & 2047 WHEN 0 THEN 0 ELSE 4503599627370496 END)::double precision
            * power(2::double precision, greatest((bits.bits >> 52) & 2047, 1) - 1075) AS square
        FROM bits
        WHERE (bits.bits >> 52) & 2047 < 2047  -- no number: one of the two lacks the layer
        ORDER BY bits.revision_id, bits.layer_id, bits.batch_id DESC
    ),
    sums AS (
        SELECT squares.revision_id, sqrt(sum(squares.square)) AS distance,
            sqrt(sum(squares.square) / nullif(sum(norms.squared_norm), 0)) AS relative, count(*) AS layers
        FROM squares
        JOIN norms USING (layer_id)
        GROUP BY squares.revision_id
        UNION ALL  -- those of equal weights that were not measured again, or that it stands for here
        SELECT same.revision_id, 0, 0, (SELECT count(*) FROM norms WHERE norms.squared_norm <> 'NaN')
        FROM (
            SELECT duplicates.revision_id FROM public.duplicates
            WHERE duplicates.run_id = own.run_id AND duplicates.of_id = own.stands_for_revision
            UNION
            SELECT own.stands_for_revision
        ) AS same
        WHERE same.revision_id NOT IN (SELECT squares.revision_id FROM squares)
          AND same.revision_id NOT IN (SELECT current_revision_id FROM public.repositories WHERE id = repository)
    )
    SELECT row_number() OVER (ORDER BY sums.relative, repositories.name), repositories.name, sums.distance,
        sums.relative, sums.layers
    FROM sums
    JOIN public.repositories ON repositories.current_revision_id = sums.revision_id
    WHERE repositories.removed_at IS NULL AND NOT EXISTS (
        SELECT FROM public.failures
        WHERE failures.revision_id = sums.revision_id AND failures.stage = 'measure' AND failures.resolved_at IS NULL
    )
    ORDER BY 1
    LIMIT k;
END
$$;

COMMENT ON FUNCTION hublineage.nearest IS 'The k models whose weights are nearest to those of a model, of its family. distance: Euclidean, over the trunk layers that both have (the matrices that the family shares, without heads); relative: over the norm of the model in these layers, by which they are ordered; layers: how many these are. Only measured pairs: of families above 256 models a new member is measured against those that sketches show near it. A copy that was not measured again stands where its original stands.';
