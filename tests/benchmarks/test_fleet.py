"""A simulated fleet takes as long as its narrowest resource, and never more of the Hub than it may."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fleet_assumptions import POPULAR, WHOLE, Hub, stored
from benchmarks.fleet_costs import FILE, Costs, read_costs
from benchmarks.fleet_plan import tasks
from benchmarks.fleet_simulation import Fleet, Outcome, Resource, Task, simulate
from benchmarks.fleet_tables import WORKERS, duration, limit, size

COSTS = Costs(**dict.fromkeys(Costs.__dataclass_fields__, 1e-12))
WIDE = Fleet(quota=(10**9, 10**9), share=1.0, link=1e15, cores=1e9, database=10_000)
SMALL = Hub("small", listed=20_000, followed=5_000, family=500, batch=64, model=1e8, layers=20)


def run(hub: Hub, costs: Costs, fleet: Fleet) -> Outcome:
    return simulate(fleet, tasks(hub, costs, fleet))


def many(count: int, task: Task) -> list[Task]:
    return [task] * count


@pytest.mark.parametrize("workers", [1, 4])
def test_one_link_alone_takes_bytes_over_rate(workers: int) -> None:
    fleet = replace(WIDE, workers=workers, link=100e6)
    found = simulate(fleet, many(400, Task("read", "measure", bytes=1e9)))
    assert found.seconds == pytest.approx(400 * 1e9 / (100e6 * workers), rel=0.01)
    assert found.use("read", "link") == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("workers", [1, 4])
def test_processors_alone_take_work_over_cores(workers: int) -> None:
    fleet = replace(WIDE, workers=workers, cores=8.0)
    found = simulate(fleet, many(400, Task("compute", "measure", processor=80.0)))
    assert found.seconds == pytest.approx(400 * 80 / (8 * workers), rel=0.01)


def test_the_database_alone_takes_work_over_its_cores_however_many_workers() -> None:
    fleet = replace(WIDE, workers=50, database=4)
    found = simulate(fleet, many(4_000, Task("write", "measure", database=2.0)))
    assert found.seconds == pytest.approx(4_000 * 2 / 4, rel=0.01)
    assert found.use("write", "database") == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("bucket", "quota"), [("api", 1_000), ("resolvers", 5_000)])
def test_a_quota_alone_takes_requests_over_its_share(bucket: str, quota: int) -> None:
    fleet = replace(WIDE, workers=10, quota=(1_000, 5_000), share=0.5)
    task = Task("ask", "crawl", **{bucket: 100})  # type: ignore[arg-type]  # it is one of the two
    found = simulate(fleet, many(5_000, task))
    # a window of the ledger lasts a second longer than the Hub's, which replies round
    assert found.seconds == pytest.approx(500_000 / (quota * 0.5) * 301, rel=0.01)


def test_replies_alone_take_their_time_in_every_lane() -> None:
    found = simulate(replace(WIDE, workers=5, lanes=2), many(1_000, Task("wait", "crawl", replies=3.0)))
    assert found.seconds == pytest.approx(1_000 * 3 / 10)


def test_reading_and_computing_go_side_by_side() -> None:
    fleet = replace(WIDE, link=100e6, cores=1.0)
    found = simulate(fleet, many(200, Task("measure", "measure", bytes=1e9, processor=7.0)))
    assert found.seconds == pytest.approx(200 * 10, rel=0.01)
    assert found.use("measure", "processor") == pytest.approx(0.7, rel=0.01)


def windows(found: Outcome, bucket: str, length: float) -> int:
    """The most permits that any stretch of `length` seconds saw, wherever it begins."""
    leases = found.leases["api" if bucket == "api" else "resolvers"]
    most = first = within = 0
    for moment, permits in leases:
        within += permits
        while leases[first][0] <= moment - length:
            within -= leases[first][1]
            first += 1
        most = max(most, within)
    return most


@pytest.mark.parametrize("workers", WORKERS)
def test_no_window_sees_more_than_the_share_and_no_stretch_more_than_the_quota(workers: int) -> None:
    fleet = Fleet(workers, link=1e9, quota=(500, 3_000))
    found = run(replace(SMALL, shards=20.0), read_costs(), fleet)
    for bucket, quota in zip(("api", "resolvers"), fleet.quota, strict=True):
        assert 0 < windows(found, bucket, fleet.window) <= quota
        windows_of: dict[float, int] = {}
        begun = -fleet.window - 1
        for moment, permits in found.leases["api" if bucket == "api" else "resolvers"]:
            begun = begun if moment < begun + fleet.window + 1 else moment
            windows_of[begun] = windows_of.get(begun, 0) + permits
            assert moment <= begun + fleet.window - 1.5  # the last seconds of a window may be the Hub's next one
        assert max(windows_of.values()) <= quota * fleet.share


@pytest.mark.parametrize("hub", [SMALL, replace(SMALL, large=0.0), replace(SMALL, family=2_000, large=1.0)])
def test_more_workers_are_never_slower_where_addresses_cost_no_quota(hub: Hub) -> None:
    for costs in (COSTS, read_costs()):
        found = [run(hub, costs, Fleet(workers, quota=(1_000, 10**9))).seconds for workers in (1, 2, 5, 10, 20, 50)]
        assert all(after <= before * 1.01 for before, after in itertools.pairwise(found)), found


def test_workers_share_addresses_and_ask_for_those_that_end() -> None:
    one, ten = (run(replace(SMALL, block=1e8), COSTS, Fleet(workers)).stages["measure"].busy for workers in (1, 10))
    assert ten["resolvers quota"] <= one["resolvers quota"]
    whole = replace(POPULAR, listed=2_000, followed=2_000, family=2_000)
    lasting, ending = (run(replace(whole, address=life), COSTS, Fleet(10)).stages["measure"] for life in (1e12, 600.0))
    assert ending.busy["resolvers quota"] > 2 * lasting.busy["resolvers quota"]


@pytest.mark.parametrize("hub", [replace(POPULAR, listed=5_000, followed=5_000, family=5_000), SMALL])
def test_more_workers_are_never_slower(hub: Hub) -> None:
    found = [run(hub, read_costs(), Fleet(workers)).seconds for workers in (1, 2, 5, 10, 20, 50)]
    assert all(after <= before * 1.01 for before, after in itertools.pairwise(found)), found


def test_the_same_plan_ends_at_the_same_moment() -> None:
    one, other = (run(SMALL, read_costs(), Fleet(10)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("workers", [1, 7])
def test_what_is_done_does_not_depend_on_how_many_do_it(workers: int) -> None:
    found = run(SMALL, read_costs(), Fleet(workers))
    assert sum(permits for _, permits in found.leases["api"]) == 20 + 7_500  # pages, and 1.5 for each repository
    assert found.stages["describe"].busy["resolvers quota"] == 7_500 + 5_000 * 0.4 * 2
    models = 5_000 * 0.4
    read = found.stages["measure"].busy["link"] * Fleet().link
    assert models * 1e8 <= read <= models * 1e8 * 17
    one = run(SMALL, read_costs(), Fleet(1))
    for name, stage in one.stages.items():
        for resource, busy in stage.busy.items():
            if name == "measure" and resource in {"resolvers quota", "processor", "database"}:
                continue  # addresses end less often before more workers, each of which looks them up
            assert found.stages[name].busy[resource] == pytest.approx(busy)


def test_every_stage_of_a_plan_is_run_in_order() -> None:
    found = run(SMALL, read_costs(), Fleet(3))
    names = ["list", "describe", "open batches", "measure", "infer", "compare"]
    assert set(found.stages) == set(names)
    begun = [found.stages[name].begun for name in names if name != "open batches"]
    assert begun == sorted(begun)
    assert found.seconds == found.stages["compare"].ended


def test_a_hub_without_weights_ends_with_its_descriptions() -> None:
    found = run(replace(SMALL, measured=0.0), read_costs(), Fleet(2))
    assert set(found.stages) == {"list", "describe"}


def test_batches_of_one_family_follow_each_other() -> None:
    """Opening them is one worker's work, so that other workers take nothing off it."""
    hub = replace(SMALL, family=2_000, large=1.0)
    fast, slow = (run(hub, COSTS, Fleet(workers)) for workers in (50, 10))
    assert fast.stages["open batches"].busy["link"] == slow.stages["open batches"].busy["link"]
    read = fast.stages["open batches"].busy["link"]
    assert fast.stages["measure"].ended - fast.stages["measure"].begun > read


def test_the_limit_that_is_told_is_the_narrowest_resource() -> None:
    def told(fleet: Fleet, stage: str) -> str:
        return limit(SMALL, run(SMALL, COSTS, fleet), (stage,)).split(" (")[0]

    assert told(Fleet(10), "describe") == "api quota"
    assert told(Fleet(10, link=1e5, quota=(10**9, 10**9)), "measure") == "link"


def test_reading_a_part_of_every_tensor_divides_the_bytes() -> None:
    whole, part = (run(replace(SMALL, parts=parts), COSTS, Fleet(1)) for parts in (1.0, 0.01))
    assert part.stages["measure"].busy["link"] == pytest.approx(whole.stages["measure"].busy["link"] / 100)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"link": 0.0}, {"share": 1.5}, {"quota": (0, 1)}, {"lanes": 0}])
def test_a_fleet_without_means_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a fleet needs"):
        simulate(replace(Fleet(), **wrong), [])  # type: ignore[arg-type]


def test_costs_that_are_missing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text(FILE.read_text().replace('"job_database"', '"another"'))
    with pytest.raises(ValueError, match="another, job_database"):
        read_costs(file)


def test_costs_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    value = read_costs().job_database
    file.write_text(FILE.read_text().replace(f'"value": {value}', '"value": -1'))
    with pytest.raises(ValueError, match="job_database"):
        read_costs(file)


def test_what_is_stored_grows_with_what_is_followed() -> None:
    few, many_ = (stored(replace(WHOLE, followed=count), read_costs()) for count in (1_000_000, 2_000_000))
    assert many_["measure"].bytes == pytest.approx(2 * few["measure"].bytes)
    assert many_["list"] == few["list"]
    assert stored(POPULAR, read_costs()).keys() == few.keys()


@pytest.mark.parametrize(
    ("seconds", "told"), [(1.5, "1.5 s"), (119, "119 s"), (150, "2.5 min"), (86_400, "24 h"), (864_000, "10 days")]
)
def test_durations_are_told_in_the_largest_fitting_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told
    assert duration(0) == "0.0 s"


def test_sizes_are_told_in_the_largest_fitting_unit() -> None:
    assert [size(one) for one in (0, 5e8, 2.5e9, 4e13, 7.2e15)] == ["0", "500 MB", "2.5 GB", "40 TB", "7.2 PB"]


def test_resources_have_a_capacity_each() -> None:
    names: dict[Resource, float] = simulate(Fleet(2), []).capacity
    assert all(value > 0 for value in names.values())
