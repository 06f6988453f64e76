CREATE VIEW hublineage.schema_version AS
SELECT
    1 AS major,
    0 AS minor,
    alembic_version.version_num::text AS tables_version
FROM public.alembic_version;

COMMENT ON VIEW hublineage.schema_version IS 'Which version of this surface the database has; one row.';
COMMENT ON COLUMN hublineage.schema_version.major IS 'grows when something is renamed, removed or means something else: queries may have to change';
COMMENT ON COLUMN hublineage.schema_version.minor IS 'grows when views, columns or functions are added: queries stay as they are';
COMMENT ON COLUMN hublineage.schema_version.tables_version IS 'the version of the internal tables below it, of no concern to queries';
