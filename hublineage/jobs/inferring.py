"""The jobs of the queue `infer`: the trees of a family, the verdicts of a source, and what keeps the database tidy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from db import addresses, crawls, measurements
from db.engine import transaction
from db.errors import UsageError
from db.models import Family, MeasureBatch, SourceRow
from hublineage.history import Policy, apply_retention
from hublineage.jobs import kinds, queue
from hublineage.jobs.measuring import needs_inference
from lineage.arborescence import NoArborescence
from lineage.compare import compare as compare_source
from lineage.infer import infer_family, is_measured
from lineage.measure_options import METRIC_VERSION

if TYPE_CHECKING:
    from hublineage.jobs.workplace import Work


def infer(work: Work, *, source: str, family: int) -> None:
    """Infer a family from its measures; while a batch of it is under way, a little later."""
    with transaction(work.engine) as session:
        kin = session.get(Family, family)
        name = kin.name if kin is not None else ""
        unfinished = select(MeasureBatch.id).where(
            MeasureBatch.family_id == family,
            MeasureBatch.metric_version == METRIC_VERSION,
            MeasureBatch.finished_at.is_(None),
        )
        measuring = session.scalars(unfinished).first() is not None
    if not name or not is_measured(work.engine, family):
        return
    if measuring:
        work.wait_for(f"members of {name} are being measured", work.settings.queue.infer_after)
    work.checkpoint(name, 0, 1)
    said, chosen = work.settings.infer, work.place.inference
    try:
        infer_family(work.engine, family, chosen, weights_only=said.weights_only)
    except NoArborescence as error:
        raise UsageError(f"trees = {said.trees} joins models of {name} that do not compare") from error
    work.then(kinds.compare(source, wait=work.settings.queue.compare_after))


def compare(work: Work, *, source: str) -> None:
    """Hold what the cards of a source declare against what was inferred."""
    with transaction(work.engine) as session:
        source_id = crawls.source_id(session, source)
    work.checkpoint(source, 0, 1)
    compare_source(work.engine, source_id)


def inference(work: Work) -> None:
    """Queue whatever the flow has left behind: families to measure, and those whose run is out of date."""
    with transaction(work.engine) as session:
        sources = session.execute(select(SourceRow.id, SourceRow.name)).all()
        families = {name: [one.id for one in measurements.families(session, number)] for number, name in sources}
    for source, known in families.items():
        for number, family in enumerate(known):
            work.checkpoint(source, number, len(known))
            work.defer(kinds.plan(source, family))
            if needs_inference(work, family):
                work.defer(kinds.infer(source, family))


def retention(work: Work) -> None:
    """Remove what is not kept: runs by the settings' policy, measures of earlier versions, jobs that ended long ago."""
    said = work.settings.retention
    work.checkpoint("runs", 0, 2)
    removed = apply_retention(work.engine, Policy(said.keep_runs, said.keep_days))
    work.checkpoint("jobs", 1, 2)
    with transaction(work.engine) as session:
        gone = queue.forget_old(session, work.settings.queue.keep_days)
        addresses.forget_old(session)
    work.checkpoint(f"removed {len(removed.runs)} runs, {len(removed.batches)} batches, {gone} jobs", 2, 2)
