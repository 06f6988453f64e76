"""The main job and its four stages, over one source: crawl, measure, infer, compare."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from crawler import pipeline
from crawler.source import Query, Source
from db import measurements
from db.engine import transaction
from db.errors import UsageError
from lineage.arborescence import NoArborescence
from lineage.compare import compare
from lineage.infer import infer_family, is_measured
from lineage.measure import measure_family
from lineage.measure_options import Options
from lineage.parameters import Parameters

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crawler.pipeline import Crawled
    from hublineage.progress import Reporter
    from lineage.measure import Progress


@dataclass(frozen=True)
class Job:
    """What one run of the job is to do."""

    query: Query = field(default_factory=Query)
    crawling: pipeline.Options = field(default_factory=pipeline.Options)
    options: Options = field(default_factory=Options)
    parameters: Parameters = field(default_factory=Parameters)
    weights_only: bool = False


def choose_device(wanted: str) -> str:
    """The device to compute on: for "auto" a GPU where there is one. Raises UsageError where it is missing."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {wanted}: {reason}") from error
    return str(device)


def crawl(engine: Engine, source: Source, job: Job, report: Reporter) -> Crawled:
    """List the source and describe what is new. Raises SourceUnreachable."""

    def progress(now: pipeline.Progress) -> None:
        report.step(now.stage, now.done, now.total, now.name)

    options = replace(job.crawling, retry_failed=job.crawling.retry_failed or job.options.retry_failed)
    return pipeline.crawl(engine, source, job.query, options, progress=progress)


def measure(engine: Engine, source: Source, source_id: int, job: Job, report: Reporter) -> int:
    """Measure every family of a source; return the number of layers measured."""

    def progress(now: Progress) -> None:
        report.step(f"measure {now.family}", now.done, now.layers, f"{now.members} models, {now.layer}")

    total = 0
    for family in families(engine, source_id):
        total += measure_family(engine, *family, source, options=job.options, progress=progress)
    return total


def infer(engine: Engine, source_id: int, job: Job, report: Reporter) -> list[int]:
    """Infer every family of a source that was measured; return the runs."""
    runs = []
    found = families(engine, source_id)
    for number, (family, name) in enumerate(found):
        report.step("infer", number, len(found), name)
        if not is_measured(engine, family):
            report.note(f"{name} has no measures of this version: `hublineage measure` takes them")
            continue
        try:
            runs.append(infer_family(engine, family, job.parameters, weights_only=job.weights_only))
        except NoArborescence as error:
            raise UsageError(f"--trees {job.parameters.trees} joins models of {name} that do not compare") from error
    report.step("infer", len(found), len(found))
    return runs


def families(engine: Engine, source_id: int) -> list[tuple[int, str]]:
    """Id and name of the families of a source that have members now."""
    with transaction(engine) as session:
        return [(family.id, family.name) for family in measurements.families(session, source_id)]


def run(engine: Engine, source: Source, job: Job, report: Reporter) -> Crawled:
    """All four stages in order. What was done before is not done again."""
    crawled = crawl(engine, source, job, report)
    measure(engine, source, crawled.source_id, job, report)
    infer(engine, crawled.source_id, job, report)
    compare(engine, crawled.source_id)
    return crawled
