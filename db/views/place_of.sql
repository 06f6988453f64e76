CREATE FUNCTION hublineage_internal.place_of(
    repository bigint,
    OUT revision_id bigint,
    OUT run_id bigint,
    OUT cluster_id bigint,
    OUT stands_for bigint,
    OUT stands_for_revision bigint,
    OUT copied_from boolean
)
LANGUAGE sql STABLE AS $$
    SELECT
        revisions.id,
        members.run_id,
        members.cluster_id,
        coalesce(original.repository_id, revisions.repository_id),
        coalesce(original.id, revisions.id),
        EXISTS (
            SELECT FROM public.edges
            WHERE edges.cluster_id = members.cluster_id AND edges.child_id = revisions.id
              AND edges.parent_id = original.id AND edges.decided
        )
    FROM public.revisions
    JOIN public.repositories ON repositories.id = revisions.repository_id
    JOIN public.cluster_members AS members ON members.revision_id = revisions.id
    JOIN public.runs ON runs.id = members.run_id AND runs.is_current
    LEFT JOIN public.duplicates ON duplicates.run_id = runs.id AND duplicates.revision_id = revisions.id
    LEFT JOIN public.revisions AS original ON original.id = duplicates.of_id
    WHERE revisions.repository_id = place_of.repository
    ORDER BY revisions.id = repositories.current_revision_id DESC, runs.id DESC
    LIMIT 1
$$;

COMMENT ON FUNCTION hublineage_internal.place_of IS 'Where a repository stands in the current runs: itself, or as a duplicate where the one stands that it equals; nulls where in none. copied_from: whether dates say that it was copied from that one.';
