"""What the fleet's work costs: measured figures, kept with the command, machine, commit and date they come from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(__file__).with_name("fleet_costs.json")


@dataclass(frozen=True)
class Cost:
    """One measured figure and where it comes from."""

    value: float
    unit: str
    command: str
    machine: str
    commit: str
    date: str


@dataclass(frozen=True)
class Costs:
    """The figures alone. "Processor" is of a worker, "database" of PostgreSQL's own processes; both in core seconds."""

    list_processor: float  # seconds per row of a listing
    list_database: float
    list_rows: float  # rows of tables per repository
    list_bytes: float  # of the database, per repository
    describe_processor: float  # seconds per repository
    describe_database: float
    describe_rows: float
    describe_bytes: float
    layer_processor: float  # seconds per layer and batch, whatever its size
    number_processor: float  # seconds per number read: decoding, moments, hash, sketch
    pair_processor: float  # seconds per number and pair: distance and slope
    pair_bytes: float  # of the database, per layer and pair
    measure_database: float  # seconds per stored byte of measures
    load_processor: float  # seconds per byte of stored measures that inference loads
    candidate_processor: float  # seconds per new member and member when candidates are looked for
    infer_processor: float  # seconds per member of a sparse family
    compare_processor: float  # seconds per model
    compare_database: float
    address_processor: float  # seconds per look into the table of addresses, or address put there
    address_database: float
    job_processor: float  # seconds per job of the queue
    job_database: float


def read_costs(file: Path = FILE) -> Costs:
    """The figures of the file. Raises ValueError, naming it, where one is missing, unknown or no positive number."""
    found = {name: cost.value for name, cost in read_sources(file).items()}
    wanted = Costs.__dataclass_fields__.keys()
    if odd := sorted(found.keys() ^ wanted):
        raise ValueError(
            f"{file}: missing or unknown: {', '.join(odd)}; `python -m benchmarks.fleet --measure` makes it"
        )
    if wrong := sorted(name for name, value in found.items() if not 0 < value < float("inf")):
        raise ValueError(f"{file}: no positive numbers: {', '.join(wrong)}")
    return Costs(**found)


def read_sources(file: Path = FILE) -> dict[str, Cost]:
    """The figures of the file with their origins."""
    return {name: Cost(**one) for name, one in json.loads(file.read_text()).items()}


def write_costs(costs: Mapping[str, Cost], file: Path = FILE) -> None:
    """Write all figures, in the order of `Costs`."""
    ordered = {name: asdict(costs[name]) for name in Costs.__dataclass_fields__}
    file.write_text(json.dumps(ordered, indent=1) + "\n")
