"""The jobs of the queue `measure`: what is measured next of a family, and a block of layers of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from db import measurements
from db.engine import transaction
from db.errors import Transient
from db.models import FailureRow, Family, MeasureBatch, Revision, Run
from hublineage.jobs import kinds, queue
from hublineage.settings_values import parse_size
from lineage import batches
from lineage.blocks import blocks, finish_batch, measure_layers, try_members
from lineage.infer import is_measured
from lineage.measure import open_batch
from lineage.measure_options import METRIC_VERSION

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from hublineage.jobs.workplace import Work


def plan(work: Work, *, source: str, family: int, retry_failed: bool = False) -> None:
    """Open the family's next batch and queue its blocks; where nothing is left to measure, its inference."""
    options = work.options(retry_failed=retry_failed)
    waits = {} if retry_failed else _put_off(work, family)
    batch = open_batch(
        work.engine,
        family,
        work.source(source, measures=True),
        options=options,
        left_out=waits,
        most=options.exact_members,
    )
    if batch is None:
        if waits:
            work.then(kinds.plan(source, family, wait=min(waits.values())))
        if needs_inference(work, family):
            work.then(kinds.infer(source, family, wait=work.settings.queue.infer_after))
        return
    size = parse_size(work.settings.queue.block)
    left = [block for block in blocks(work.engine, batch, options, size=size) if not block.is_measured]
    work.then(*(kinds.measure(source, family, batch, block.number, block.layers) for block in left))
    if not left and finish_batch(work.engine, batch, options.buckets):
        _go_on(work, source, family)


def measure(work: Work, *, source: str, family: int, batch: int, block: int, layers: list[int]) -> None:
    """Measure a block; whoever stores the batch's last layer queues what comes after it.

    Before it ends one worker too many, each member is tried alone: the one that does it is known by its name then.
    """
    with transaction(work.engine) as session:
        row = session.get(MeasureBatch, batch)
        kin = session.get(Family, family)
        if row is None or kin is None:
            return
        finished, name, members = row.finished_at is not None, kin.name, len(row.members)
    options = work.options()
    if not finished:
        opened = work.source(source, measures=True)
        if work.is_last:
            try_members(
                work.engine,
                batch,
                layers,
                opened,
                options,
                lambda revision, model: work.suspect(f"{revision} {model}"),
            )
            work.suspect(None)

        def progress(layer: str, done: int, total: int) -> None:
            work.checkpoint(f"{name}, block {block} of {members} models, {layer}".rstrip(", "), done, total)

        measure_layers(work.engine, batch, layers, opened, options, progress)
    if finish_batch(work.engine, batch, options.buckets):
        _go_on(work, source, family)


def _go_on(work: Work, source: str, family: int) -> None:
    """After a batch: members that it had no room for, that joined meanwhile or that are to be tried again."""
    with transaction(work.engine) as session:
        known = measurements.batches(session, family, METRIC_VERSION)
        waiting, _ = batches.waiting(session, family, known, retry_failed=False, tried=())
    if waiting:
        work.then(kinds.plan(source, family))
    work.then(kinds.infer(source, family, wait=work.settings.queue.infer_after))


def needs_inference(work: Work, family: int) -> bool:
    """Whether a measured family has no run of its present members and batches."""
    if not is_measured(work.engine, family):
        return False
    with transaction(work.engine) as session:
        run = session.scalars(select(Run).where(Run.family_id == family, Run.is_current)).one_or_none()
        return run is None or _inputs(session, family) != (run.inputs.get("batches"), run.inputs.get("revisions"))


def _inputs(session: Session, family: int) -> tuple[list[int], dict[str, str]]:
    done = [batch.id for batch in measurements.batches(session, family, METRIC_VERSION) if batch.finished_at]
    return done, {member.name: member.sha for member in measurements.members(session, family)}


def _put_off(work: Work, family: int) -> dict[int, float]:
    """Members that failed for a passing reason, and in how many seconds they are to be tried again."""
    limits = work.settings.queue
    query = (
        select(FailureRow.revision_id, FailureRow.last_at, FailureRow.attempts)
        .join(Revision, Revision.id == FailureRow.revision_id)
        .where(
            Revision.family_id == family,
            FailureRow.stage == "measure",
            FailureRow.kind == Transient.__name__,
            FailureRow.resolved_at.is_(None),
        )
    )
    waits: dict[int, float] = {}
    with transaction(work.engine) as session:
        now = queue.now(session)
        for revision, last_at, attempts in session.execute(query):
            wait = min(limits.first_wait * 2.0 ** min(attempts, 30), limits.longest_wait)
            left = wait - (now - last_at).total_seconds()
            if revision is not None and left > 0:
                waits[revision] = max(waits.get(revision, 0.0), min(left, wait))
    return waits
