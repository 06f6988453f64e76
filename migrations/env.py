"""How Alembic runs here: on the connection, and in the transaction, that `db.schema` hands over."""

from __future__ import annotations

from alembic import context

from db.models import Base
from db.schema import is_ours

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, include_name=is_ours
)
context.run_migrations()
