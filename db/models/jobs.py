"""What is known of a job beside the queue's own tables, which are the library's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base


class JobRecord(Base):
    """How far a job is, and how its tries ended; it goes when the queue forgets the job.

    `suspect` names what was alone at hand when a worker may die of it: if it does, that is known afterwards.
    """

    __tablename__ = "job_records"
    __table_args__ = (CheckConstraint("killed >= 0 AND failed >= 0", name="counts"),)
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # of procrastinate_jobs
    what: Mapped[str] = mapped_column(server_default="")  # what it is at, or was when it ended
    done: Mapped[int] = mapped_column(server_default="0")
    total: Mapped[int | None]
    killed: Mapped[int] = mapped_column(server_default="0")  # tries that ended with their worker
    failed: Mapped[int] = mapped_column(server_default="0")  # tries that ended with a passing error, in a row
    suspect: Mapped[str | None]
    kind: Mapped[str | None]  # of the last error
    reason: Mapped[str | None]
    parked_at: Mapped[datetime | None]  # when it was given up
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
