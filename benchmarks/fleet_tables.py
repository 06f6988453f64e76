"""The fleet's tables, as Markdown for docs/scale.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.fleet_assumptions import POPULAR, WHOLE, Hub, stored
from benchmarks.fleet_plan import tasks
from benchmarks.fleet_simulation import RESOURCES, Fleet, Outcome, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.fleet_costs import Cost, Costs

NAME = "fleet"  # of its markers
WORKERS = (1, 10, 50)
_OPENING = "one batch opened at a time"
_NEARLY_ALL, _MUCH = 0.95, 0.25  # of a resource: alone the limit; a part of it
_UNITS = ((365.25 * 86_400, "years"), (86_400.0, "days"), (3_600.0, "h"), (60.0, "min"), (0.0, "s"))
_SIZES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (0.0, "MB"))


@dataclass(frozen=True)
class Change:
    """One assumption that is varied."""

    what: str
    hub: Hub
    fleet: Fleet


def changes(hub: Hub, fleet: Fleet) -> list[Change]:
    """What is varied of a plan, one at a time."""
    popular = hub.large == 1.0
    of_hub = [
        ("nothing", hub),
        ("models of a quarter of the bytes", replace(hub, model=hub.model / 4)),
        ("models of four times the bytes", replace(hub, model=hub.model * 4)),
        ("a tenth as many distinct neighbours: siblings share theirs", replace(hub, neighbours=hub.neighbours / 10)),
        ("blocks of 64 GB in place of 2", replace(hub, block=64e9)),
        ("batches of 64", replace(hub, batch=64)),
        ("batches of 1,024", replace(hub, batch=1024)),
        ("sketches kept when a model is first read", replace(hub, reads=0.0)),
        ("a hundredth of each tensor read, at fixed places", replace(hub, parts=0.01)),
    ]
    if popular:
        of_hub.append(("models as in the recorded sample, 47 GB in 10 files", replace(hub, model=47e9, shards=10.0)))
    else:
        of_hub.append(("a fifth of the repositories is measured", replace(hub, measured=0.2)))
        of_hub.append(("two fifths are, and every large family has 20,000 members", replace(hub, family=20_000)))
    of_fleet = [
        ("anonymous", replace(fleet, quota=(500, 3_000))),
        ("PRO", replace(fleet, quota=(2_500, 12_000))),
        ("Enterprise", replace(fleet, quota=(6_000, 50_000))),
        ("lines of 10 Gbit/s", replace(fleet, link=1e9)),
        ("lines of 10 Gbit/s, 64 cores", replace(fleet, link=1e9, cores=64.0)),
    ]
    return [Change(what, one, fleet) for what, one in of_hub] + [Change(what, hub, one) for what, one in of_fleet]


def document(costs: Costs, sources: dict[str, Cost]) -> str:
    """Everything between the markers, without them."""
    lines = [*_costs(sources), ""]
    for hub in (WHOLE, POPULAR):
        found = {workers: simulate(Fleet(workers), tasks(hub, costs, Fleet(workers))) for workers in WORKERS}
        lines += [f"### {hub.name[0].upper()}{hub.name[1:]}", "", *_work(hub, costs, found[1]), ""]
        lines += [*_times(hub, found), ""]
        fleet = Fleet(WORKERS[-1])
        lines += [f"{WORKERS[-1]} workers, one assumption changed at a time:", "", _TIMES, _rule(_TIMES)]
        for change in changes(hub, fleet):
            lines.append(_line(change.what, change.hub, simulate(change.fleet, tasks(change.hub, costs, change.fleet))))
        lines.append("")
    return "\n".join(lines).rstrip()


_TIMES = "| | listed after | described after | measured after | all done after | describing: limit | measuring: limit |"


def _rule(header: str) -> str:
    return "|" + "---|" * (header.count("|") - 1)


def _times(hub: Hub, found: dict[int, Outcome]) -> Iterator[str]:
    header = _TIMES.replace("| |", "| workers |", 1)
    yield from (header, _rule(header))
    for workers, outcome in found.items():
        yield _line(str(workers), hub, outcome)


def _line(what: str, hub: Hub, outcome: Outcome) -> str:
    ended = [max(outcome.stages[one].ended for one in stages if one in outcome.stages)
             for stages in (("list",), ("describe",), ("measure",))]  # fmt: skip
    times = [duration(one) for one in (*ended, outcome.seconds)]
    limits = limit(hub, outcome, ("describe",)), limit(hub, outcome, ("open batches", "measure"))
    return f"| {' | '.join([what, *times, *limits])} |"


def limit(hub: Hub, outcome: Outcome, stages: Sequence[str]) -> str:
    """What a stage uses most of what there is of it, and how much: near 100 % it is what the stage waits for."""
    own = [outcome.stages[stage] for stage in stages if stage in outcome.stages]
    span = max(stage.ended for stage in own) - min(stage.begun for stage in own)
    use = {name: sum(one.busy[name] for one in own) / (outcome.capacity[name] * span) for name in RESOURCES}
    if "open batches" in stages and hub.large == 1.0 and hub.family >= hub.followed * hub.measured:
        use[_OPENING] = outcome.stages["open batches"].spent / span  # type: ignore[index]  # no resource, yet a limit
    first, second = sorted(use, key=lambda name: -use[name])[:2]
    told = [first] if use[first] > _NEARLY_ALL or use[second] < _MUCH else [first, second]
    return ", ".join(f"{name} ({min(use[name], 1):.0%})" for name in told)


def _work(hub: Hub, costs: Costs, outcome: Outcome) -> Iterator[str]:
    """What is done, by however many."""
    header = (
        "| stage | API requests | resolves | bytes read | worker core hours | database core hours | rows | stored |"
    )
    yield from (header, _rule(header))
    kept = stored(hub, costs)
    cores, link = Fleet().cores, Fleet().link
    for name, stage in outcome.stages.items():
        busy = stage.busy
        left = kept.get(name)
        yield (
            f"| {name} | {busy['api quota']:,.0f} | {busy['resolvers quota']:,.0f} | {size(busy['link'] * link)}"
            f" | {busy['processor'] * cores / 3_600:,.1f} | {busy['database'] / 3_600:,.2f}"
            f" | {f'{left.rows:,.0f} | {size(left.bytes)}' if left else '- | -'} |"
        )


def _costs(sources: dict[str, Cost]) -> Iterator[str]:
    one = next(iter(sources.values()))
    yield f"Costs: `{one.command}`, {one.machine}, commit {one.commit}."
    yield ""
    yield "| cost | value | unit and what it was measured on |"
    yield "|---|---|---|"
    for name, cost in sources.items():
        yield f"| {name.replace('_', ' ')} | {cost.value:.3g} | {cost.unit} |"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two, to two or three digits."""
    for length, name in _UNITS:
        if seconds >= 2 * length:
            value = seconds / length if length else seconds
            return f"{value:,.0f} {name}" if value >= 10 else f"{value:.1f} {name}"
    raise ValueError(f"no duration: {seconds}")


def size(nbytes: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit, name in _SIZES:
        if nbytes >= unit:
            value = nbytes / (unit or 1e6)
            return "0" if not value else f"{value:,.0f} {name}" if value >= 10 else f"{value:.1f} {name}"
    raise ValueError(f"no size: {nbytes}")
