CREATE TYPE hublineage_internal.step AS (
    node bigint,
    via bigint,
    depth integer,
    relation text,
    confidence double precision,
    chance double precision,
    known_by text
);

COMMENT ON TYPE hublineage_internal.step IS 'A repository that a walk reached, the one it came from, and the edge between them.';

-- Level by level, each repository once, so that circles end and merges do not multiply. Where a level reaches one in
-- several ways, the likeliest counts. A page is filled in the order in which repositories were listed.
CREATE FUNCTION hublineage_internal.walk(
    start bigint,
    downwards boolean,
    edges text,
    undecided boolean,
    max_depth integer,
    at_most bigint
) RETURNS SETOF hublineage_internal.step
-- One plan for all levels: to plan each anew takes ten times as long as to follow it.
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    place record;
    inferred boolean := edges IN ('inferred', 'both');
    declared boolean := edges IN ('declared', 'both');
    frontier hublineage_internal.step[] := ARRAY[ROW(start, NULL, 0, NULL, NULL, 1, NULL)::hublineage_internal.step];
    visited bigint[] := ARRAY[start];
    found hublineage_internal.step[];
    fresh hublineage_internal.step[];
    level integer := 0;
    total bigint := 0;
    reach bigint;
    stands_for bigint;
BEGIN
    IF inferred THEN
        SELECT * INTO place FROM hublineage_internal.place_of(start);
        IF place.stands_for <> start AND NOT (place.copied_from AND NOT downwards) THEN
            -- A copy stands where the model stands that it equals.
            stands_for := place.stands_for;
            frontier := ARRAY[ROW(stands_for, NULL, 0, NULL, NULL, 1, NULL)::hublineage_internal.step]
                || CASE WHEN declared THEN frontier ELSE '{}' END;
            visited := visited || stands_for;
        END IF;
    END IF;
    WHILE cardinality(frontier) > 0
        AND (max_depth IS NULL OR level < max_depth) AND (at_most IS NULL OR total < at_most)
    LOOP
        level := level + 1;
        reach := 2 * (at_most - total) + 64;
        LOOP
            found := ARRAY(
                SELECT ROW(link.node, link.via, level, link.relation, link.confidence, link.chance, link.known_by)::hublineage_internal.step
                FROM (
                    SELECT
                        parent.repository_id AS node,
                        frontier_step.node AS via,
                        edge.relation,
                        edge.confidence,
                        frontier_step.chance * edge.confidence AS chance,
                        'inferred' AS known_by
                    FROM unnest(frontier) AS frontier_step
                    JOIN public.revisions AS child ON child.repository_id = frontier_step.node
                    JOIN public.edges AS edge ON edge.child_id = child.id
                    JOIN public.clusters ON clusters.id = edge.cluster_id
                    JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
                    JOIN public.revisions AS parent ON parent.id = edge.parent_id
                    WHERE inferred AND NOT downwards AND (edge.decided OR undecided)
                    UNION ALL
                    SELECT
                        child.repository_id,
                        frontier_step.node,
                        edge.relation,
                        edge.confidence,
                        frontier_step.chance * edge.confidence,
                        'inferred'
                    FROM unnest(frontier) AS frontier_step
                    JOIN public.revisions AS parent ON parent.repository_id = frontier_step.node
                    JOIN public.edges AS edge ON edge.parent_id = parent.id
                    JOIN public.clusters ON clusters.id = edge.cluster_id
                    JOIN public.runs ON runs.id = clusters.run_id AND runs.is_current
                    JOIN public.revisions AS child ON child.id = edge.child_id
                    WHERE inferred AND downwards AND (edge.decided OR undecided)
                    UNION ALL
                    SELECT edge.parent_id, frontier_step.node, edge.relation, NULL, NULL, 'declared'
                    FROM unnest(frontier) AS frontier_step
                    JOIN public.repositories AS child ON child.id = frontier_step.node
                    JOIN public.declared_parents AS edge ON edge.revision_id = child.current_revision_id
                    WHERE declared AND NOT downwards AND edge.parent_id IS NOT NULL
                      AND edge.source NOT IN ('prose', 'config')
                    UNION ALL
                    SELECT child.id, frontier_step.node, edge.relation, NULL, NULL, 'declared'
                    FROM unnest(frontier) AS frontier_step
                    JOIN public.declared_parents AS edge ON edge.parent_id = frontier_step.node
                    JOIN public.repositories AS child ON child.current_revision_id = edge.revision_id
                    WHERE declared AND downwards AND edge.source NOT IN ('prose', 'config')
                ) AS link
                LIMIT reach
            );
            SELECT array_agg(
                ROW(one.node, one.via, one.depth, one.relation, one.confidence, one.chance, one.known_by)::hublineage_internal.step
                ORDER BY one.node
            ) INTO fresh
            FROM (
                SELECT DISTINCT ON (link.node) link.*
                FROM (
                    SELECT true AS known, id AS node, NULL::bigint AS via, NULL::integer AS depth, NULL AS relation,
                        NULL::double precision AS confidence, NULL::double precision AS chance, NULL AS known_by
                    FROM unnest(visited) AS id
                    UNION ALL
                    SELECT false, step.* FROM unnest(found) AS step
                ) AS link
                ORDER BY link.node, link.known DESC, link.chance DESC NULLS LAST, link.via, link.relation
            ) AS one
            WHERE NOT one.known;
            -- Several ways to the same ones may have filled the reach before the page was full.
            EXIT WHEN at_most IS NULL OR cardinality(found) < reach
                OR coalesce(cardinality(fresh), 0) >= at_most - total;
            reach := reach * 4;
        END LOOP;
        fresh := coalesce(fresh, '{}');
        IF at_most IS NOT NULL THEN
            fresh := fresh[1:at_most - total];
        END IF;
        IF declared AND EXISTS (SELECT FROM unnest(found) AS step WHERE step.node = start AND step.via <> start) THEN
            RAISE NOTICE 'parents as declared go in a circle through %',
                (SELECT name FROM public.repositories WHERE id = start);
        END IF;
        RETURN QUERY
        SELECT step.node, CASE WHEN step.via = stands_for THEN start ELSE step.via END, step.depth, step.relation,
            step.confidence, step.chance, step.known_by
        FROM unnest(fresh) AS step;
        total := total + cardinality(fresh);
        visited := visited || ARRAY(SELECT node FROM unnest(fresh));
        frontier := fresh;
        -- Copies of what was reached descend from the same models, but nothing is below them that is not below those.
        IF inferred AND downwards AND total > 0 THEN
            fresh := ARRAY(
                SELECT ROW(copy.repository_id, step.node, level, 'duplicate', NULL, step.chance, 'inferred')::hublineage_internal.step
                FROM unnest(frontier) AS step
                JOIN public.revisions AS original ON original.repository_id = step.node
                JOIN public.duplicates ON duplicates.of_id = original.id
                JOIN public.runs ON runs.id = duplicates.run_id AND runs.is_current
                JOIN public.revisions AS copy ON copy.id = duplicates.revision_id
                WHERE NOT EXISTS (
                    SELECT FROM public.edges
                    JOIN public.clusters ON clusters.id = edges.cluster_id AND clusters.run_id = duplicates.run_id
                    WHERE edges.child_id = copy.id AND edges.parent_id = original.id AND (edges.decided OR undecided)
                )
                ORDER BY copy.repository_id
                LIMIT at_most - total
            );
            SELECT array_agg(step) INTO fresh FROM unnest(fresh) AS step WHERE step.node <> ALL (visited);
            IF fresh IS NOT NULL THEN
                RETURN QUERY SELECT step.* FROM unnest(fresh) AS step;
                total := total + cardinality(fresh);
                visited := visited || ARRAY(SELECT node FROM unnest(fresh));
            END IF;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION hublineage_internal.walk IS 'All that is above or below a repository, nearest first.';
