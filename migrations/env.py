"""How Alembic runs here: on the connection, and in the transaction, that `db.schema` hands over."""

from __future__ import annotations

from alembic import context

from db.models import Base


def _is_ours(name: str | None, kind: str, _parent: object) -> bool:
    """Leave the job queue's own tables out of the comparison with the models."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, include_name=_is_ours
)
context.run_migrations()
