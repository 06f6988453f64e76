"""What a fleet is to do: the tasks that follow from assumptions about the Hub and from measured costs.

The path of one repository: a row of a listing; details, card, configurations and headers; the bytes of its weights,
once for the sketches by which its neighbours are found, once with its batch, and again whenever it is a neighbour of
another; then inference and comparison. Where a family has more than EXACT members its batches follow each other, since
each looks for neighbours among those before it: a batch is opened by one worker and its layers are measured by all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.fleet_assumptions import CARD, DETAILS, PAGE, ROW, SKETCH, Hub
from benchmarks.fleet_simulation import Fleet, Task
from crawler.addresses import REMEMBERED, TYPICAL
from crawler.safetensors_header import FIRST_READ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.fleet_costs import Costs

_LISTED_AT_ONCE = 10  # pages of a task
_TASKS = 1_500  # of a stage, at the most
_BLOCKS = 5_000  # of all lumps together, about
_LUMPS = 50  # of a large family's batches, at the most: a lump is so many batches one after another


def tasks(hub: Hub, costs: Costs, fleet: Fleet) -> list[Task]:
    """The first pages of the listing; everything else follows from them, and from what follows from that.

    A cursor is known only from the page before, so pages are listed one after another. A fleet describes while it still
    lists; here it begins when all is listed, which moves no sum, since both take turns at one quota.
    """
    return [_Plan(hub, costs, fleet).page(0)]


@dataclass
class _Plan:
    """A plan that is under way: what is left of each stage."""

    hub: Hub
    costs: Costs
    fleet: Fleet
    described: int = 0
    models: int = 0  # of described repositories, to be measured
    left: int = 0  # large families, and tasks of small ones, that are not measured yet

    @property
    def large(self) -> int:
        """Models in large families."""
        return round(self.models * self.hub.large)

    def page(self, first: int) -> Task:
        """The task that lists so many pages from this row on."""
        rows = min(_LISTED_AT_ONCE * PAGE, self.hub.listed - first)
        pages = math.ceil(rows / PAGE)

        def then() -> Iterator[Task]:
            if first + rows < self.hub.listed:
                yield self.page(first + rows)
            else:
                yield from self.describe()

        return Task(
            "list", "crawl", api=pages, bytes=rows * ROW, processor=rows * self.costs.list_processor,
            replies=pages * self.hub.round_trip, database=rows * self.costs.list_database, then=then,
        )  # fmt: skip

    def describe(self) -> Iterator[Task]:
        """The tasks that describe what is followed, once the listing is whole."""
        size = max(self.hub.per_job, math.ceil(self.hub.followed / _TASKS))
        for begin in range(0, self.hub.followed, size):
            yield self._described(begin, min(begin + size, self.hub.followed))

    def _described(self, begin: int, end: int) -> Task:
        hub, costs, count = self.hub, self.costs, end - begin
        api = _between(hub.api, begin, end)
        files = _between(hub.measured * hub.shards, begin, end)
        resolvers = _between(hub.small, begin, end) + files
        jobs = count / hub.per_job
        asked = api + 2 * resolvers  # a resolve leads on to the place where the bytes are

        def then() -> Iterator[Task]:
            self.described += count
            self.models += _between(hub.measured, begin, end)
            if self.described >= hub.followed:
                yield from self.measure()

        return Task(
            "describe", "crawl", api=api, resolvers=resolvers,
            bytes=count * (DETAILS + CARD) + files * FIRST_READ,
            processor=count * costs.describe_processor + jobs * costs.job_processor,
            replies=asked * hub.round_trip / hub.described_at_once,
            database=count * costs.describe_database + jobs * costs.job_database, then=then,
        )  # fmt: skip

    def measure(self) -> Iterator[Task]:
        """Families are settled when all are described; then large ones open a batch each, small ones are measured."""
        hub = self.hub
        large = self.large
        families = max(1, round(large / hub.family)) if large else 0
        small = self.models - large
        size = max(hub.few, math.ceil(small / _TASKS))
        groups = [min(size, small - first) for first in range(0, small, size)]
        self.left = families + len(groups)
        if not self.left:
            yield from self._finished()
        for number in range(families):
            yield self.batch(0, large * (number + 1) // families - large * number // families)
        for count in groups:
            work = self._work(count, (hub.few + 1) / 2, count * hub.layers / hub.few, together=hub.few)
            yield replace(work, then=self._one_less)

    def batch(self, done: int, members: int) -> Task:
        """The task that opens the next batches of a large family, of which `done` members are measured."""
        hub, costs = self.hub, self.costs
        batches = max(1, math.ceil(members / hub.batch / _LUMPS))
        new = min(hub.batch * batches, members - done)
        batches = math.ceil(new / hub.batch)
        middle = done + new / 2  # members that there are, in the mean over these batches
        compares = done > 0 or batches > 1
        near = min(hub.neighbours * hub.batch, middle) if compares else 0.0  # older models in a batch
        read = new * hub.model * hub.parts * hub.reads if compares else 0.0
        pairs = new * middle if compares else 0.0  # the tree of the old members is kept

        def then() -> Iterator[Task]:
            yield from self._blocks(done + new, members, new, near, batches)

        return Task(
            "open batches", "measure", resolvers=self._resolves(new, hub.batch, 1) if compares else 0, bytes=read,
            processor=read / hub.width * costs.number_processor + pairs * costs.candidate_processor
            + batches * (middle * SKETCH * costs.load_processor * compares + costs.job_processor),
            database=batches * costs.job_database + new * SKETCH * costs.measure_database, then=then,
        )  # fmt: skip

    def _blocks(self, done: int, members: int, new: int, near: float, batches: int) -> Iterator[Task]:
        """The tasks of batches that were opened: all their layers, in as many parts as workers can use."""
        hub = self.hub
        together = min(new, hub.batch) + near
        pairs = (min(hub.batch, new) + 1) / 2 + near
        whole = self._work(new, pairs, batches * hub.layers, batches * near / new, together=together)
        resolvers = whole.resolvers
        lumps = max(1, self.large // hub.family) * math.ceil(members / new)
        count = min(hub.layers, max(2, math.ceil(_BLOCKS / lumps)))
        open_blocks = [count]

        def then() -> Iterator[Task]:
            open_blocks[0] -= 1
            if not open_blocks[0]:
                if done < members:
                    yield self.batch(done, members)
                else:
                    yield from self._one_less()

        for number in range(count):
            yield replace(
                whole, resolvers=resolvers * (number + 1) // count - resolvers * number // count,
                bytes=whole.bytes / count, processor=whole.processor / count, database=whole.database / count,
                then=then,
            )  # fmt: skip

    def _work(self, new: int, pairs: float, layers: float, near: float = 0.0, *, together: float) -> Task:
        """What measuring `new` models costs: `pairs` and `near` older models read for each, `layers` rows in all.

        `together`: models of a batch, older ones too.
        """
        hub, costs = self.hub, self.costs
        read = new * (1 + near) * hub.model * hub.parts
        numbers = hub.model * hub.parts / hub.width
        stored = new * (pairs * hub.layers * costs.pair_bytes + SKETCH)
        jobs = max(1.0, read / hub.block)
        models = new * (1 + near)
        looks = self._looks(models, together)
        return Task(
            "measure", "measure", resolvers=self._resolves(models, together, self.fleet.workers), bytes=read,
            processor=read / hub.width * costs.number_processor + new * pairs * numbers * costs.pair_processor
            + layers * costs.layer_processor + jobs * costs.job_processor + looks * costs.address_processor,
            database=stored * costs.measure_database + jobs * costs.job_database + looks * costs.address_database,
        )  # fmt: skip

    def _resolves(self, models: float, together: float, workers: int) -> int:
        """Requests for the signed addresses of so many models, `together` of them read at a time by so many workers.

        Workers share them: each file is asked for once, and again when its address ends before the batch does. Files
        are read one after another, layer by layer, so that of a model one address is in use at a time.
        """
        hub = self.hub
        read = together * hub.model * hub.parts
        ended = read / (self.fleet.link * workers) / hub.address
        return math.ceil(models * min(hub.shards + ended, max(hub.shards, self._cut(read))))

    def _looks(self, models: float, together: float) -> float:
        """Looks into the table of addresses: by every worker, for each file that its blocks touch.

        Again where an address ends, or where it is forgotten since more files are read in turn than a worker remembers:
        for every block at the worst.
        """
        hub, workers = self.hub, self.fleet.workers
        read = together * hub.model * hub.parts
        fits = together * hub.shards <= REMEMBERED // TYPICAL
        each = max(hub.shards, min(workers, self._cut(read))) + read / self.fleet.link / hub.address
        return models * min(each if fits else math.inf, max(hub.shards, self._cut(read)))

    def _cut(self, read: float) -> int:
        """Blocks of a batch that reads so many bytes."""
        return min(self.hub.layers, math.ceil(read / self.hub.block))

    def _one_less(self) -> Iterator[Task]:
        self.left -= 1
        if not self.left:
            yield from self._finished()

    def _finished(self) -> Iterator[Task]:
        """Inference of all families, each on one worker, and behind the last the one comparison."""
        hub, costs = self.hub, self.costs
        large = self.large
        families = max(1, min(_TASKS, round(large / hub.family))) if self.models else 0
        near = min(hub.neighbours * hub.batch, hub.family / 2)
        each = large * ((hub.batch + 1) / 2 + near) + (self.models - large) * (hub.few + 1) / 2
        loaded = each * hub.layers * costs.pair_bytes
        open_families = [families]
        compare = Task(
            "compare", "measure", processor=self.models * costs.compare_processor,
            database=self.models * costs.compare_database,
        )  # fmt: skip

        def then() -> Iterable[Task]:
            open_families[0] -= 1
            return [] if open_families[0] else [compare]

        for _ in range(families):
            yield Task(
                "infer", "measure",
                processor=(self.models * costs.infer_processor + loaded * costs.load_processor) / families, then=then,
            )  # fmt: skip


def _between(each: float, begin: int, end: int) -> int:
    """How many fall to these repositories where `each` falls to every one: over all of them the sum is right."""
    return math.floor(each * end + 0.5) - math.floor(each * begin + 0.5)
