"""Measures of a Hub folder, for the benchmarks: through the main job and its database, as users get them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crawler.folder import FolderSource
from db import measurements
from db.engine import transaction
from hublineage import job
from hublineage.database import database
from hublineage.progress import Reporter
from hublineage.settings import Settings
from lineage.family import FamilyMeasures
from lineage.stored import load_measures


def measure_folder(folder: Path, data_dir: Path) -> list[tuple[FamilyMeasures, tuple[str, ...]]]:
    """Crawl and measure a folder; the measures of each family and the names of its members, in the same order."""
    source = FolderSource(folder)
    report = Reporter(None)
    with database(Settings(data_dir=data_dir)) as engine:
        work = job.Job()
        crawled = job.crawl(engine, source, work, report)
        job.measure(engine, source, crawled.source_id, work, report)
        found = []
        for family, _ in job.families(engine, crawled.source_id):
            with transaction(engine) as session:
                names = {one.revision_id: one.name for one in measurements.members(session, family)}
                measures = load_measures(session, family)
            found.append((measures, tuple(names[one] for one in measures.members)))
    return found


def read_truth(folder: Path) -> dict[str, dict[str, Any]]:
    """The models of a zoo's truth.json."""
    models: dict[str, dict[str, Any]] = json.loads((folder / "truth.json").read_text())["models"]
    return models
