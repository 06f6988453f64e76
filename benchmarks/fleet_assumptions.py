"""What a fleet simulation assumes of the Hub, and what its models leave in the database when all is done.

Bytes are those of recorded pages, cards and details; what else is assumed stands in docs/scale.md with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.addresses import KEPT_SECONDS
from hublineage.settings import QueueSettings
from hublineage.settings_values import parse_size
from lineage.measure_options import Options
from lineage.sketch import BUCKETS

if TYPE_CHECKING:
    from benchmarks.fleet_costs import Costs

EXACT = Options().exact_members
_QUEUE = QueueSettings()
PAGE = 1_000
CARD = 2_400  # bytes on average, of the sample of recorded cards
ROW = 1_260  # bytes of a listing's row, of the recorded pages
DETAILS = 20_000  # bytes of one repository's details, with its files
SKETCH = 8 * BUCKETS  # bytes of a member's sketches
EDGE = 1_000  # bytes of an edge or a verdict with its evidence, about


@dataclass(frozen=True)
class Hub:
    """Assumptions, none of them measured on the whole Hub; a mean stands for every repository."""

    name: str
    listed: int = 3_000_000  # repositories in the listing
    followed: int = 3_000_000  # described
    measured: float = 0.4  # share of the followed whose weights are measured: open, safetensors, no adapter, no copy
    model: float = 6e9  # bytes of a measured model's weights
    width: float = 2.0  # bytes of a number
    layers: int = 200
    shards: float = 2.0  # weight files of a repository that has any
    api: float = 1.5  # requests of the API per repository: its details, and the first commit where nothing is declared
    small: float = 1.5  # resolves per repository: the card, and now and then a configuration or an index
    family: int = 2_000  # members of a large family; they share them out
    large: float = 0.8  # share of the measured that are in large families; the others are in families of `few`
    few: int = 16
    batch: int = EXACT  # new members that are measured together
    neighbours: float = 16.0  # older models read for a new one: 16 where no two new ones share any
    parts: float = 1.0  # of a model's bytes that are read: less where fixed ranges of each tensor stand for it
    reads: float = 1.0  # of a new model for its sketches, before it is measured: 0 where those are kept
    address: float = KEPT_SECONDS  # that a signed address is used; it is good for an hour
    round_trip: float = 0.15  # seconds of a request
    described_at_once: int = 4  # repositories
    per_job: int = _QUEUE.describe  # repositories of a describe job
    block: float = parse_size(_QUEUE.block)  # bytes of a measure job


WHOLE = Hub("the whole Hub")
POPULAR = Hub(
    "one architecture of 100,000 models", followed=100_000, measured=1.0, model=16e9, layers=291, shards=4.0,
    family=100_000, large=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """What a stage leaves in the database."""

    rows: float
    bytes: float


def stored(hub: Hub, costs: Costs) -> dict[str, Stored]:
    """Rows and bytes by stage when all is done; of listing and describing as measured, of the rest by their laws."""
    models = hub.followed * hub.measured
    large = models * hub.large
    near = min(hub.neighbours * hub.batch, hub.family / 2)
    pairs = large * ((hub.batch + 1) / 2 + near) + (models - large) * (hub.few + 1) / 2
    batches = large / hub.batch + (models - large) / hub.few
    return {
        "list": Stored(hub.listed * costs.list_rows, hub.listed * costs.list_bytes),
        "describe": Stored(hub.followed * costs.describe_rows, hub.followed * costs.describe_bytes),
        "measure": Stored(batches * hub.layers, pairs * hub.layers * costs.pair_bytes + models * SKETCH),
        "infer": Stored(models, models * EDGE),
        "compare": Stored(models, models * EDGE),
    }
