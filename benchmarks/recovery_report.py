"""The recovery benchmark's tables, as Markdown for BENCHMARKS.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import mean

from benchmarks.recovery_methods import METHODS, OURS
from benchmarks.recovery_scores import STATED, Result, Spread, by_split, calibrated, scatter, spread, stages_right

NAME = "recovery"  # of its markers


@dataclass(frozen=True)
class Target:
    """What a population has to reach, and the splits that stand for it."""

    population: str
    splits: tuple[str, ...]
    least: float
    value: Callable[[Result], float] = lambda one: one.score.directed
    what: str = "directed edges"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


TARGETS = (
    Target("FT", ("ft",), 0.97),
    Target("LoRA-V, LoRA-F", ("lora-v", "lora-f"), 0.99),
    Target("Mixed", ("mixed",), 0.97),
    Target("Deep", ("deep",), 0.98),
    Target("ResNet", ("resnet",), 0.95),
    Target("half int8, fp16, bf16", ("half", "half-int8", "half-fp16", "half-bf16"), 0.98),
    Target("pruned 50 %", ("pruned-50", "all-pruned-50", "pruned-copies-50", "pruned-line-50"), 0.98),
    Target("pruned 90 %", ("pruned-90", "all-pruned-90", "pruned-copies-90", "pruned-line-90"), 0.95),
    Target("pruned 99 %", ("pruned-99", "all-pruned-99", "pruned-copies-99", "pruned-line-99"), 0.80),
    Target("frozen layers", ("frozen",), 0.95),
    Target(
        "folds given no parent",
        ("folds", "resnet-folds"),
        1.00,
        lambda one: 1 - _share(one.score.orphans_decided, one.score.orphans),
        "folds",
    ),
    Target("other heads, missing layers", ("heads",), 0.98),
    Target("exact copies, re-sharded", ("copies",), 1.00),
    Target("copies as duplicates", ("copies",), 1.00, lambda one: _share(one.groups[1], one.groups[0]), "groups"),
    Target("casts and children of casts", ("casts", "quantised"), 0.95),
    Target("generalisation", ("versions", "continued", "gpt2-continued"), 0.95),
    Target("decoder FT", ("decoder-ft", "gpt2-ft"), 0.85),
    Target("decoder FT, siblings on similar texts", ("decoder-similar", "gpt2-similar"), 0.85),
    Target("decoder Mixed", ("decoder-mixed", "decoder-similar-mixed", "gpt2-mixed"), 0.95),
    Target(
        "merges: all parents",
        ("merges", "decoder-merges"),
        1.00,
        lambda one: _share(one.merges.parents, one.merges.merges),
        "merges",
    ),
    Target(
        "merges: weights within .05",
        ("merges", "decoder-merges"),
        0.95,
        lambda one: _share(one.merges.weights, one.merges.merges),
        "merges",
    ),
    Target(
        "strangers given no parent",
        ("strangers",),
        1.00,
        lambda one: 1 - _share(one.score.false_parents, one.score.strangers),
        "strangers",
    ),
)


def document(results: Sequence[Result], facts: Sequence[str], plots: Sequence[str]) -> str:
    """Everything between the markers, without them: facts, targets, tables of both kinds of zoo, calibration."""
    fresh = [one for one in results if not one.tuned_on]
    tuned = [one for one in results if one.tuned_on]
    parts = [*facts, "", "### What must be reached", "", _TARGETS_SAY, "", *targets(results)]
    parts += ["", "### Calibration", "", _CALIBRATION_SAYS, "", *reliability_table(results), ""]
    parts += ["### Stages of training", "", _STAGES_SAY, "", *stage_table(results), ""]
    parts += [f"![{title}]({path})" for path, title in zip(plots, _PLOT_TITLES, strict=False)]
    parts += [
        "",
        "### Zoos that nothing was tuned on",
        "",
        _TABLE_SAYS,
        "",
        *(table(fresh) if fresh else ["None yet."]),
    ]
    if tuned:
        parts += ["", "### Zoos that were tuned on", "", _TUNED_SAYS, "", *table(tuned)]
    return "\n".join(parts)


_PLOT_TITLES = ("Reliability diagrams", "Directed edges by split and method")
_TARGETS_SAY = (
    "Directed edges unless it says otherwise, `recover` with its defaults and weights only: mean over zoos and the "
    "least of them, on zoos that nothing was tuned on and, apart, on those that were. A dash: no such zoo was run."
)
_CALIBRATION_SAYS = (
    "Expected calibration error over ten bins of equal width (number of edges). Confidence: that the edge is there and "
    "has this direction; adjacency: that it is there; direction: that it points this way, asked of true edges only. "
    "*If perfect*: what the error would be, on average over 1,000 draws, if each of these edges came true as often as "
    "it is stated to; so few statements scatter by that much however true they are."
)
_STAGES_SAY = (
    "Of true edges that were found between trained models: share whose likelier stage (generalisation: continued "
    "pre-training; specialisation: fine-tuning) is the one that truth.json names, and their number."
)
_TABLE_SAYS = (
    "Means over seeds, ± their standard deviation where there are several. *Random roots*: what the method's own "
    "skeletons would score with roots drawn at random, and in brackets the chance of a random root. *True roots*: our "
    "skeletons with the true roots, the ceiling of any choice of direction. *Strangers*: given a parent, decided or "
    "not. *Orphans* (folds; children whose parent is not there): given a parent by a decided edge. *Decided right*: of "
    "decided edges, those that are true. *Merges*: those whose inferred parents are the true ones and no other; "
    "*weights*: of all merges, those whose weights are all within .05 besides. The paper's method and the spanning "
    "tree decide everything. The paper's method is told who was pre-trained; nobody is told the number of trees, and "
    "all use our clusters."
)
_TUNED_SAYS = (
    "Seed 1: choices were made on these, and `lineage/learnt.json` names those that weights were learnt from. They "
    "show what was aimed at, not what can be expected."
)


def targets(results: Sequence[Result]) -> list[str]:
    """One line per population."""
    ours = [one for one in results if one.method == OURS]
    lines = [_row("population", "of", "at least", "not tuned on", "tuned on"), "|---|---|---|---|---|"]
    for target in TARGETS:
        cells = []
        for tuned_on in (False, True):
            found = [one for one in ours if one.split in target.splits and one.tuned_on == tuned_on]
            cells.append(_reached(target, found))
        lines.append(_row(target.population, target.what, f"{target.least:.2f}", *cells))
    return lines


def _reached(target: Target, found: Sequence[Result]) -> str:
    values = [number for number in map(target.value, found) if not isnan(number)]
    if not values:
        return "-"
    least = f", least {min(values):.3f}" if len(values) > 1 else ""
    short = "" if mean(values) >= target.least - 1e-9 else " **short**"
    return f"{mean(values):.3f} ({len(values)} zoo{'s' if len(values) > 1 else ''}{least}){short}"


def stage_table(results: Sequence[Result]) -> list[str]:
    """One line per stage, on zoos of both kinds."""
    lines = [_row("stage", "not tuned on", "tuned on"), "|---|---|---|"]
    for stage, general in (("generalisation", True), ("specialisation", False)):
        cells = []
        for tuned_on in (False, True):
            right, told = stages_right((one for one in results if one.tuned_on == tuned_on), general)
            cells.append(f"{right / told:.3f} ({told})" if told else "-")
        lines.append(_row(stage, *cells))
    return lines


def reliability_table(results: Sequence[Result]) -> list[str]:
    """One line per set of zoos and architecture, and what is stated."""
    ours = [one for one in results if one.method == OURS and one.statements]
    heads = [head for what in STATED for head in (what, "if perfect")]
    lines = [_row("zoos", *heads), "|---|" + "---|" * len(heads)]
    for title, tuned_on in (("not tuned on", False), ("tuned on", True)):
        mine = [one for one in ours if one.tuned_on == tuned_on]
        kinds = sorted({one.architecture for one in mine})
        groups = [(f"{title}, all", mine)] if mine else []
        if len(kinds) > 1:
            groups += [(f"{title}, {kind}", [one for one in mine if one.architecture == kind]) for kind in kinds]
        for name, group in groups:
            cells = []
            for what in STATED:
                one = calibrated(group, what)
                cells += [f"{one.error:.3f} ({int(one.count.sum())})", f"{scatter(group, what):.3f}"]
            lines.append(_row(name, *cells))
    return lines


COLUMNS: tuple[tuple[str, Callable[[list[Result]], str]], ...] = (
    ("seeds", lambda found: ", ".join(str(one.seed) for one in found)),
    ("directed edges", lambda found: f"{_both(spread(found, lambda r: r.score.directed))} of {_edges(found)}"),
    ("random roots", lambda found: _mean(found, lambda r: r.score.random_root_directed)),
    ("undirected", lambda found: _both(spread(found, lambda r: r.score.undirected))),
    (
        "roots",
        lambda found: f"{_mean(found, lambda r: r.score.roots, 2)} ({_mean(found, lambda r: r.score.random_roots, 2)})",
    ),
    ("adjusted Rand", lambda found: _mean(found, lambda r: r.score.adjusted_rand)),
    ("strangers", lambda found: _of(found, lambda r: (r.score.false_parents, r.score.strangers))),
    ("orphans", lambda found: _of(found, lambda r: (r.score.orphans_decided, r.score.orphans))),
    ("decided", lambda found: _mean(found, lambda r: r.score.decided, 2)),
    ("decided right", lambda found: _mean(found, lambda r: r.score.decided_right)),
    ("merges", lambda found: _of(found, lambda r: (r.merges.parents, r.merges.merges))),
    ("weights", lambda found: _of(found, lambda r: (r.merges.weights, r.merges.merges))),
    ("false merges", lambda found: _of(found, lambda r: (r.merges.false, 0), bare=True)),
    ("copies", lambda found: _of(found, lambda r: (r.groups[1], r.groups[0]))),
)


def table(results: Sequence[Result]) -> list[str]:
    """One line per split and method."""
    lines = [_row("split", "method", *(name for name, _ in COLUMNS)), "|---|---|" + "---|" * len(COLUMNS)]
    groups = by_split(results)
    for split in dict.fromkeys(one.split for one in results):
        for method in METHODS:
            if found := groups.get((split, method)):
                what = f"{split} ({found[0].architecture})"
                lines.append(_row(what, method, *(cell(found) for _, cell in COLUMNS)))
    return lines


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _edges(found: Sequence[Result]) -> str:
    return str(sum(one.score.true_edges for one in found))


def _both(of: Spread) -> str:
    if isnan(of.mean):
        return "-"
    return f"{of.mean:.3f}" + ("" if isnan(of.deviation) else f" ± {of.deviation:.3f}")


def _mean(found: Sequence[Result], value: Callable[[Result], float], digits: int = 3) -> str:
    of = spread(found, value)
    return "-" if isnan(of.mean) else f"{of.mean:.{digits}f}"


def _of(found: Sequence[Result], value: Callable[[Result], tuple[int, int]], *, bare: bool = False) -> str:
    part, whole = (sum(values) for values in zip(*map(value, found), strict=True))
    if bare:
        return str(part)
    return f"{part} of {whole}" if whole else "-"
