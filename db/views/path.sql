CREATE FUNCTION hublineage.path(
    a text,
    b text,
    edges text DEFAULT 'inferred',
    undecided boolean DEFAULT false,
    strict boolean DEFAULT true,
    source text DEFAULT NULL
) RETURNS TABLE (
    step integer,
    model text,
    direction text,
    relation text,
    confidence double precision,
    path_confidence double precision,
    known_by text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    from_id bigint := hublineage_internal.begin_walk(a, false, edges, undecided, strict, source);
    to_id bigint := hublineage_internal.begin_walk(b, false, edges, undecided, strict, source);
    from_place bigint := CASE WHEN edges = 'declared' THEN from_id
        ELSE coalesce((SELECT stands_for FROM hublineage_internal.place_of(from_id)), from_id) END;
    to_place bigint := CASE WHEN edges = 'declared' THEN to_id
        ELSE coalesce((SELECT stands_for FROM hublineage_internal.place_of(to_id)), to_id) END;
    above_from hublineage_internal.step[];
    above_to hublineage_internal.step[];
    meeting bigint;
BEGIN
    IF from_place = to_place THEN
        RETURN QUERY
        SELECT 0, name, 'start', NULL::text, NULL::double precision, 1::double precision, NULL::text
        FROM public.repositories WHERE id = from_id
        UNION ALL
        SELECT 1, name, 'same weights', 'duplicate', NULL, 1, 'inferred'
        FROM public.repositories WHERE id = to_id AND to_id <> from_id
        ORDER BY 1;
        RETURN;
    END IF;
    -- Both models and all above them. The ends meet where the way is shortest, of these where it is likeliest.
    above_from := ARRAY(
        SELECT ROW(from_place, NULL, 0, NULL, NULL, 1, NULL)::hublineage_internal.step
        UNION ALL
        SELECT ROW(one.node, CASE WHEN one.via = from_id THEN from_place ELSE one.via END, one.depth, one.relation,
            one.confidence, one.chance, one.known_by)::hublineage_internal.step
        FROM hublineage_internal.walk(from_id, false, edges, undecided, NULL, NULL) AS one
        WHERE one.node <> from_place
    );
    above_to := ARRAY(
        SELECT ROW(to_place, NULL, 0, NULL, NULL, 1, NULL)::hublineage_internal.step
        UNION ALL
        SELECT ROW(one.node, CASE WHEN one.via = to_id THEN to_place ELSE one.via END, one.depth, one.relation,
            one.confidence, one.chance, one.known_by)::hublineage_internal.step
        FROM hublineage_internal.walk(to_id, false, edges, undecided, NULL, NULL) AS one
        WHERE one.node <> to_place
    );
    SELECT one.node INTO meeting
    FROM unnest(above_from) AS one JOIN unnest(above_to) AS other ON other.node = one.node
    ORDER BY one.depth + other.depth, one.chance * other.chance DESC NULLS LAST, one.node
    LIMIT 1;
    IF meeting IS NULL THEN
        RAISE NOTICE 'no model is above both % and % by these edges%', a, b,
            CASE WHEN undecided THEN '' ELSE '; undecided => true follows undecided ones, too' END;
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE up AS (
        SELECT one.* FROM unnest(above_from) AS one WHERE one.node = meeting
        UNION ALL
        SELECT below.* FROM up JOIN unnest(above_from) AS below ON below.node = up.via
    ),
    down AS (
        SELECT one.* FROM unnest(above_to) AS one WHERE one.node = meeting
        UNION ALL
        SELECT below.* FROM down JOIN unnest(above_to) AS below ON below.node = down.via
    ),
    -- A row has the edge to the row before it: going up that of its own step, going down that of the step above.
    ways AS (
        SELECT up.depth AS number, up.node, CASE up.depth WHEN 0 THEN 'start' ELSE 'up' END AS direction,
            up.relation, up.confidence, up.known_by
        FROM up
        UNION ALL
        SELECT
            (SELECT max(up.depth) FROM up) + (SELECT max(depth) FROM down) - below.depth,
            below.node, 'down', above.relation, above.confidence, above.known_by
        FROM down AS below JOIN down AS above ON above.via = below.node
    )
    SELECT
        ways.number,
        repositories.name,
        ways.direction,
        ways.relation,
        ways.confidence,
        CASE
            WHEN bool_or(ways.confidence IS NULL AND ways.number > 0) OVER so_far THEN NULL
            WHEN coalesce(min(ways.confidence) OVER so_far, 1) = 0 THEN 0
            ELSE coalesce(exp(sum(ln(nullif(ways.confidence, 0))) OVER so_far), 1)
        END,
        ways.known_by
    FROM ways
    JOIN public.repositories ON repositories.id = CASE
        WHEN ways.number = 0 THEN from_id WHEN ways.node = to_place THEN to_id ELSE ways.node
    END
    WINDOW so_far AS (ORDER BY ways.number)
    ORDER BY ways.number;
END
$$;

COMMENT ON FUNCTION hublineage.path IS 'How two models are related: from a up to the nearest model that is above both (it may be a or b itself), and down to b. direction: start, up (to a parent), down (to a child) or same weights; relation, confidence, known_by: of the edge from the row before; path_confidence: the product of the confidences so far, null where an edge was only declared. edges: inferred (decided edges of the current runs), declared (cards, configurations and tags, without hints) or both; undecided: follow undecided edges, too; strict: an error where nothing is inferred of one of them, false: no rows; source: where the models were found, if several sources have them. Without a common ancestor there are no rows, and a notice says so.';
