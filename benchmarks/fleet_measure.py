"""Calibrates the fleet's costs on this machine: small runs of the very code that the fleet runs.

Processor seconds, not elapsed ones, so that other work on the machine disturbs little: of this process, and of
PostgreSQL's own processes. What is measured on a few thousand rows or a few hundred members is taken to grow as its law
says (docs/scale.md).
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import psutil
import torch
from safetensors.torch import save_file
from scipy.optimize import nnls
from sqlalchemy import text

from benchmarks import catalogue, scale_family, storage
from benchmarks.families import machine
from benchmarks.fleet_costs import Cost, Costs
from benchmarks.growth import layer_seconds
from benchmarks.recovery import commit
from benchmarks.streaming import served
from crawler.addresses import Address
from crawler.folder import FolderSource
from crawler.hub import HubSource
from crawler.pipeline import Options, crawl
from crawler.shared_addresses import SharedAddresses
from crawler.source import Query
from db.engine import transaction
from hublineage import job
from hublineage.database import database
from hublineage.jobs import app, kinds, queue
from hublineage.jobs.worker import Assignment, Worker
from hublineage.jobs.workplace import Workplace
from hublineage.progress import Reporter
from hublineage.settings import Settings
from lineage.candidates import Estimated, Spanning, nearest
from lineage.compare import compare
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.sketch import BUCKETS
from lineage.stored import load_measures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

SAMPLE = Path(__file__).with_name("sample_hub")
_ROWS = 5_000
_REPOSITORIES, _TENSORS = 100, 291
_MEMBERS, _LAYERS = 256, 20
_SIDE, _MODELS = 1_024, (4, 8, 16, 32)
_CANDIDATES, _NEW = 10_000, 256
_SPARSE = 10_000
_FILES = 500
_JOBS = 300


@dataclass
class Spent:
    """Core seconds of this process and of PostgreSQL, rows and bytes of the database."""

    own: float = 0.0
    server: float = 0.0
    rows: float = 0.0
    bytes: float = 0.0


def calibrated() -> dict[str, Cost]:
    """Every figure of `Costs`, measured now; about a minute on an idle core."""
    torch.set_num_threads(1)
    found = {**_crawled(), **_stored(), **_computed(), **_inferred(), **_shared(), **_queued()}
    assert found.keys() == Costs.__dataclass_fields__.keys()
    origin = "python -m benchmarks.fleet --measure", machine(), commit(), time.strftime("%Y-%m-%d")
    return {name: Cost(float(f"{value:.4g}"), unit, *origin) for name, (value, unit) in found.items()}


def _crawled() -> dict[str, tuple[float, str]]:
    """Listing synthetic rows, as `benchmarks.catalogue` does; describing repositories over HTTP."""
    with own_server() as (engine, data), _measured(engine, data) as listed:
        catalogue.straight(engine, "file:///listed", _ROWS, 0)
    with tempfile.TemporaryDirectory() as scratch, own_server() as (engine, data):
        write_repositories(Path(scratch), _REPOSITORIES)
        with served(Path(scratch)) as url, HubSource(url) as hub:
            crawl(engine, hub, Query(), Options(describe=False))
            with _measured(engine, data) as described:
                done = crawl(engine, hub, Query(), Options(jobs=4)).described
    assert done == _REPOSITORIES, f"{done} of {_REPOSITORIES} were described"
    rows, each = f"row; {_ROWS:,} synthetic rows", f"repository; {done} of {_TENSORS} tensors, loopback Hub"
    return {
        "list_processor": (listed.own / _ROWS, f"s per {rows}"),
        "list_database": (listed.server / _ROWS, f"s per {rows}"),
        "list_rows": (listed.rows / _ROWS, f"rows of tables per {rows}"),
        "list_bytes": (listed.bytes / _ROWS, f"bytes per {rows}"),
        "describe_processor": (described.own / done, f"s per {each}"),
        "describe_database": (described.server / done, f"s per {each}"),
        "describe_rows": (described.rows / done, f"rows of tables per {each}"),
        "describe_bytes": (described.bytes / done, f"bytes per {each}"),
    }


def write_repositories(folder: Path, count: int) -> None:
    """So many repositories with as many tensors as a decoder of eight thousand million parameters, each tiny."""
    tensors = {f"model.layers.{n // 9}.part{n % 9}.weight": torch.zeros(8, 8) for n in range(_TENSORS)}
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8}
    for number in range(count):
        path = folder / "org" / f"model-{number:03}"
        path.mkdir(parents=True)
        save_file({**tensors, "model.norm.weight": torch.full((8,), float(number))}, path / "model.safetensors")
        (path / "config.json").write_text(json.dumps(config))
        (path / "README.md").write_text(
            f"---\nbase_model: org/model-000\nlicense: mit\n---\n# {number}\n" + "Text. " * 400
        )


def _stored() -> dict[str, tuple[float, str]]:
    """Made-up measures into the database and back, as `benchmarks.storage` does."""
    with own_server() as (engine, data):
        family, revisions, layers = storage.catalogue(engine, _MEMBERS, _LAYERS)
        with _measured(engine, data) as stored:
            storage.store(engine, family, revisions, layers, 1)
        with engine.connect() as connection:
            size = int(connection.execute(text("SELECT pg_total_relation_size('layer_measures')")).scalar_one())
        with _measured(engine, data) as loaded, transaction(engine) as session:
            load_measures(session, family)
    pairs = _LAYERS * _MEMBERS * _MEMBERS
    sketches = _MEMBERS * BUCKETS * 8
    what = f"{_MEMBERS} members, {_LAYERS} layers"
    return {
        "pair_bytes": ((size - sketches) / pairs, f"bytes per layer and ordered pair, sketches apart; {what}"),
        "measure_database": (stored.server / size, f"s per stored byte; {what}"),
        "load_processor": ((loaded.own + loaded.server) / size, f"s per stored byte; {what}"),
    }


def _computed() -> dict[str, tuple[float, str]]:
    """The law of measuring, t = b N + c N^2, as `benchmarks.growth` fits it; and the search for candidates."""
    layer_seconds(2, 64)  # compiles
    small = min(layer_seconds(1, 8) for _ in range(5))
    sizes = np.array(_MODELS, dtype=float)
    times = np.array([min(layer_seconds(models, _SIDE) for _ in range(2)) for models in _MODELS]) - small
    powers = np.column_stack([sizes, sizes * (sizes - 1) / 2])
    (own, pair), _ = nnls(powers / times[:, None], np.ones(len(times)))
    random = np.random.default_rng(0)
    estimated = Estimated(_CANDIDATES, [BUCKETS])
    estimated.add(random.standard_normal((_CANDIDATES, BUCKETS)))
    known = nearest(estimated, _NEW, 16, Spanning.none()).spanning  # compiles, and the tree of an earlier batch
    begun = time.process_time()
    nearest(estimated, _NEW, 16, known)
    spent = time.process_time() - begun
    what = f"layers of {_SIDE} x {_SIDE}, float32, {_MODELS[0]} to {_MODELS[-1]} models, from memory, without ranks"
    return {
        "layer_processor": (small, "s per layer; one of 8 x 8"),
        "number_processor": (own / _SIDE**2, f"s per number; {what}"),
        "pair_processor": (pair / _SIDE**2, f"s per number and pair; {what}"),
        "candidate_processor": (
            spent / (_NEW * _CANDIDATES),
            f"s per new member and member; {_NEW} new of {_CANDIDATES:,}",
        ),
    }


def _inferred() -> dict[str, tuple[float, str]]:
    """Inference and comparison of the committed sample; inference of a sparse family as `benchmarks.scale` makes it."""
    with own_server() as (engine, data):
        source, report = FolderSource(SAMPLE), Reporter(None)
        found = job.crawl(engine, source, job.Job(), report)
        job.measure(engine, source, found.source_id, job.Job(), report)
        with _measured(engine, data) as inferred:
            job.infer(engine, found.source_id, job.Job(), report)
        with _measured(engine, data) as compared:
            models = compare(engine, found.source_id)
    with tempfile.TemporaryDirectory() as scratch:
        scale_family.write_few(Path(scratch), _SPARSE, 1, 16, 0)
        begun = time.process_time()
        heritage(scale_family.few_pairs(Path(scratch)), Parameters())
        sparse = time.process_time() - begun
    each = inferred.own / models + sparse / _SPARSE
    return {
        "infer_processor": (each, f"s per member; {models} of the sample, and trees of {_SPARSE:,} sparse members"),
        "compare_processor": (compared.own / models, f"s per model; {models} of the sample"),
        "compare_database": (compared.server / models, f"s per model; {models} of the sample"),
    }


def _shared() -> dict[str, tuple[float, str]]:
    """Addresses of files, each asked for and told by one worker and looked up by another."""
    with own_server() as (engine, data):
        one, other = (SharedAddresses(engine, "https://hub", "me") for _ in range(2))
        with _measured(engine, data) as spent:
            for number in range(_FILES):
                file = ("org/model", "0" * 40, f"model-{number:05}.safetensors")
                assert one.known(file, None) is None
                one.tell(file, Address(f"https://cdn/{number}?signature=" + "0" * 1_000, number))
                assert other.known(file, None) is not None
    looks = 2 * _FILES
    return {
        "address_processor": (spent.own / looks, f"s per look, or address that is told; {looks:,} looks"),
        "address_database": (spent.server / looks, f"s per look, or address that is told; {looks:,} looks"),
    }


def _queued() -> dict[str, tuple[float, str]]:
    """Jobs that do nothing, run one by one by our own worker."""
    with own_server() as (engine, data), patch.dict(app.TASKS, {kinds.COMPARE: lambda _work, **_args: None}):
        with transaction(engine) as session:
            queue.defer(session, [kinds.compare(f"file:///{number}") for number in range(_JOBS)])
        url = engine.url.render_as_string(hide_password=False)
        with _measured(engine, data) as spent:
            Worker(Workplace(engine, Settings()), url, Assignment(kinds.QUEUES, "empty")).run()
    return {
        "job_processor": (spent.own / _JOBS, f"s per job; {_JOBS} that do nothing"),
        "job_database": (spent.server / _JOBS, f"s per job; {_JOBS} that do nothing"),
    }


@contextmanager
def own_server() -> Iterator[tuple[Engine, Path]]:
    """A database of its own, and its folder."""
    with tempfile.TemporaryDirectory(prefix="hublineage-fleet-", ignore_cleanup_errors=True) as folder:
        settings = Settings(database_url=None, data_dir=Path(folder))
        with database(settings) as engine:
            yield engine, Path(folder)


@contextmanager
def _measured(engine: Engine, data: Path) -> Iterator[Spent]:
    """What is spent inside."""
    spent = Spent()
    before = _state(engine, data)
    yield spent
    after = _state(engine, data)
    for name in vars(spent):
        setattr(spent, name, getattr(after, name) - getattr(before, name))


def _state(engine: Engine, data: Path) -> Spent:
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"))
        counts = [f"(SELECT count(*) FROM {table})" for table in tables.scalars()]  # noqa: S608  # our own
        rows = int(connection.execute(text(f"SELECT {' + '.join(counts)}")).scalar_one())
        size = int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    return Spent(time.process_time(), server_seconds(data), rows, size)


def server_seconds(data: Path) -> float:
    """Processor seconds of PostgreSQL since its start: of its processes that run, and of those that ended."""
    file = next(data.rglob("postmaster.pid"))
    first = psutil.Process(int(file.read_text().split()[0]))
    times = first.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in first.children():
        times = child.cpu_times()
        total += times.user + times.system
    return total
