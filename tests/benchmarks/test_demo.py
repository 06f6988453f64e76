"""The main job on the committed sample Hub, as `make demo` runs it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from benchmarks.demo import SAMPLE, scored, verdicts_right
from crawler.hub import HubSource
from hublineage import job
from hublineage.hub.server import HubServer
from hublineage.progress import Reporter
from hublineage.result import result
from lineage.compare import compare
from lineage.parameters import Parameters


@pytest.fixture
def models() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((SAMPLE / "truth.json").read_text())["models"]
    return found


@pytest.fixture
def source() -> Iterator[HubSource]:
    with HubServer(SAMPLE) as hub, HubSource(hub.url) as source:
        yield source


@pytest.mark.slow
def test_the_sample_hub_is_recovered_and_its_faulty_cards_are_named(
    engine: Engine, source: HubSource, models: dict[str, dict[str, Any]]
) -> None:
    report = Reporter(None)
    crawled = job.run(engine, source, job.Job(weights_only=True), report)
    ours = result(engine, crawled.source_id)
    score = scored(ours, models)
    assert score.directed >= 0.9
    assert score.adjusted_rand == 1.0
    assert score.false_parents == 0
    assert Counter(len(family["trees"]) for family in ours["families"]) == Counter({3: 2})
    wrong, right, faulty = verdicts_right(ours, models)
    assert right == faulty
    assert wrong == []

    again = job.run(engine, source, job.Job(weights_only=True), report)
    assert again.described == 0
    assert result(engine, again.source_id) == ours

    job.infer(engine, crawled.source_id, job.Job(parameters=Parameters(method="mother"), weights_only=True), report)
    compare(engine, crawled.source_id)
    papers = result(engine, crawled.source_id)
    assert {family["method"] for family in papers["families"]} == {"mother"}
    assert scored(papers, models).directed < score.directed
