"""Plots of the recovery benchmark: reliability diagrams, and directed edges by split and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.recovery_methods import METHODS, OURS
from benchmarks.recovery_scores import STATED, Result, by_split, calibrated, spread

_COLOURS = ("#1f5fa8", "#2f9c95", "#8fb8de", "#c44e52", "#e6a5a7", "#6a9f58")
_MARKS = ("o", "D", "|", "s", "s", "^")
_SETS = (("not tuned on", False), ("tuned on", True))


def draw(results: Sequence[Result], folder: Path) -> tuple[Path, Path]:
    """Write both plots as SVG into the folder and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    apart = {title: [one for one in _of(results, kind) if one.method == OURS] for title, kind in _SETS}
    with _style():
        directed(results).savefig(folder / "directed.svg", metadata={"Date": None})
    return draw_reliability(apart, folder / "reliability.svg"), folder / "directed.svg"


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.hashsalt": "recovery",  # the same figures give the same file
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def draw_reliability(sets: Mapping[str, Sequence[Result]], path: Path) -> Path:
    """Write the reliability diagrams of these sets of results as SVG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _style():
        reliability(sets).savefig(path, metadata={"Date": None})
    return path


def reliability(sets: Mapping[str, Sequence[Result]]) -> Figure:
    """Share of right edges over what was stated of them, for each kind of statement and two sets of results."""
    figure = Figure(figsize=(3.1 * len(STATED), 3.4), layout="constrained")
    for axes, what in zip(figure.subplots(1, len(STATED), sharey=True), STATED, strict=True):
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=1)
        for (label, results), colour in zip(sets.items(), (_COLOURS[0], _COLOURS[3]), strict=True):
            found = calibrated(results, what)
            if not len(found.count):
                continue
            size = 12 + 120 * found.count / found.count.sum()
            said = f"{label}: error {found.error:.3f}"
            axes.plot(found.probability, found.right, color=colour, linewidth=1)
            axes.scatter(found.probability, found.right, s=size, color=colour, alpha=0.7, label=said)
        axes.set(title=what, xlabel="stated", xlim=(0, 1.03), ylim=(0, 1.24))
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.legend(loc="upper left", frameon=False, markerscale=0.6, fontsize=8)
    figure.axes[0].set_ylabel("right")
    return figure


def directed(results: Sequence[Result]) -> Figure:
    """Directed edges of every method on every split, zoos that were tuned on apart."""
    sets = [(title, kind) for title, kind in _SETS if _of(results, kind)]
    most = max((len(_splits(_of(results, kind))) for _, kind in sets), default=1)
    figure = Figure(figsize=(9.2, 1.4 + 0.24 * most), layout="constrained")
    panels = figure.subplots(1, max(1, len(sets)), squeeze=False)[0]
    for axes, (title, kind) in zip(panels, sets, strict=False):
        _panel(axes, _of(results, kind), title)
    if sets:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS) + 1, frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, results: Sequence[Result], title: str) -> None:
    groups, splits = by_split(results), _splits(results)
    height = {split: -place for place, split in enumerate(splits)}
    for method, colour, mark in zip(METHODS, _COLOURS, _MARKS, strict=True):
        mine = [split for split in splits if (split, method) in groups]
        found = [spread(groups[split, method], lambda one: one.score.directed).mean for split in mine]
        axes.scatter(found, [height[one] for one in mine], marker=mark, s=28, color=colour, label=method, zorder=3)
    chance = [spread(groups[one, OURS], lambda r: r.score.random_root_directed).mean for one in splits]
    axes.scatter(chance, list(height.values()), marker="x", s=16, color="0.6", label="random roots (ours)", zorder=2)
    axes.set(title=title, xlabel="directed edges found", xlim=(-0.02, 1.03))
    axes.set_yticks(list(height.values()), splits)
    axes.grid(axis="y", color="0.92")


def _of(results: Sequence[Result], tuned_on: bool) -> list[Result]:
    return [one for one in results if one.tuned_on == tuned_on]


def _splits(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(one.split for one in results))
