"""The role that sees the public SQL surface and nothing else.

Roles belong to a whole server: several databases share this one, and each grants it its own schema. A user who may not
create roles gets no error but `missing`, which says what an administrator has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLE = "hublineage_reader"
_CREATE = (f"CREATE ROLE {ROLE} LOGIN NOINHERIT", f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
# Two databases of a server may be upgraded at once; the one that comes second finds the role there.
_ATTEMPT = f"""
DO $$
BEGIN
    {"; ".join(_CREATE)};
EXCEPTION
    WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
END
$$
"""
_GRANTS = f"""
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA hublineage FROM PUBLIC;
GRANT USAGE ON SCHEMA hublineage TO {ROLE};
GRANT SELECT ON ALL TABLES IN SCHEMA hublineage TO {ROLE};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hublineage TO {ROLE};
"""


def exists(connection: Connection) -> bool:
    """Whether the server has the role."""
    return connection.scalar(text("SELECT to_regrole(:role) IS NOT NULL"), {"role": ROLE}) is True


def grant(connection: Connection) -> None:
    """Create the role where it is not there and we may, and let it read the schema; again changes nothing."""
    if not exists(connection):
        connection.execute(text(_ATTEMPT))
    if exists(connection):
        connection.execute(text(_GRANTS))


def missing(connection: Connection) -> str | None:
    """Why there is no role to read with, and what to do about it; None where there is one."""
    if exists(connection):
        return None
    user = connection.scalar(text("SELECT current_user"))
    return (
        f"there is no role {ROLE}, and {user} may not create one. An administrator of the server makes it with"
        f' "{"; ".join(_CREATE)}"; `hublineage db url --read-only` then gives it its rights'
    )
