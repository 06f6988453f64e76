"""Scores of the methods on zoos, their means and spread over seeds, and how well stated probabilities hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from statistics import mean, stdev
from typing import Any

from benchmarks.recovery_methods import OURS, Answer, answers, recover, with_twins
from benchmarks.recovery_zoos import Family, Truth, Zoo, truth_of, twins
from lineage.calibration import Reliability, calibration, unavoidable_error
from lineage.evaluate import MergeScore, Score, equal_groups, score, score_merges, verdicts
from lineage.stage import EVIDENCE as STAGE

# What is stated of an edge, and which of its verdicts make it come true; of a direction, only where there is an edge.
STATED = {
    "confidence": (("right",), ("right", "reversed", "wrong")),
    "adjacency": (("right", "reversed"), ("right", "reversed", "wrong")),
    "direction": (("right",), ("right", "reversed")),
}

LIKELIER = 0.5  # probability from which on generalisation is the likelier stage


@dataclass(frozen=True)
class Statement:
    """One probability, of what, and whether it came true."""

    what: str
    probability: float
    right: bool


@dataclass(frozen=True)
class Result:
    """One method on one zoo."""

    split: str
    seed: int
    architecture: str
    models: int
    tuned_on: bool
    method: str
    score: Score
    merges: MergeScore
    groups: tuple[int, int, int]  # of copies: true ones, those given exactly, given ones that are not true
    statements: tuple[Statement, ...] = field(default=(), repr=False)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it, without single statements."""
        told = asdict(self)
        del told["statements"]
        errors = {what: calibrated([self], what).error for what in STATED} if self.statements else {}
        return told | {"calibration_error": errors}


def results(zoo: Zoo, families: Sequence[Family]) -> list[Result]:
    """Every method on one zoo."""
    truth = truth_of(zoo)
    given = answers(families, truth, twins(zoo, families))
    return [_result(zoo, truth, method, answer) for method, answer in given.items()]


def ours(zoo: Zoo, families: Sequence[Family]) -> Result:
    """Our method alone on one zoo."""
    return _result(zoo, truth_of(zoo), OURS, with_twins(recover(families), twins(zoo, families)))


def _result(zoo: Zoo, truth: Truth, method: str, answer: Answer) -> Result:
    return Result(
        zoo.split,
        zoo.seed,
        zoo.architecture,
        len(truth.parents),
        zoo.tuned_on,
        method,
        scored(answer, truth),
        score_merges(truth.merges, answer.merges, bases=truth.bases, copies=truth.copies),
        equal_groups(truth.copies, answer.duplicates),
        tuple(statements(answer, truth)) if method == OURS else (),
    )


def scored(answer: Answer, truth: Truth) -> Score:
    """Trees and edges against the truth. The base of a task arithmetic is no parent, and not wrong as one."""
    edges = [edge for edge in answer.edges if not _to_base(edge.parent, edge.child, truth)]
    undecided = [edge.pair for edge in edges if not edge.decided]
    given = [edge.pair for edge in edges]
    return score(truth.parents, answer.trees, given, undecided=undecided, copies=truth.copies, absent=truth.absent)


def _to_base(parent: str, child: str, truth: Truth) -> bool:
    return truth.bases.get(child) == parent and parent not in truth.parents[child]


def statements(answer: Answer, truth: Truth) -> list[Statement]:
    """All probabilities that a method states of its edges, and whether they came true."""
    verdict = verdicts(truth.parents, [edge.pair for edge in answer.edges], copies=truth.copies)
    found = []
    for edge in answer.edges:
        if edge.pair not in verdict or _to_base(edge.parent, edge.child, truth):
            continue
        for what, (right, asked) in STATED.items():
            stated = edge.confidence if what == "confidence" else edge.evidence.get(what, nan)
            if verdict[edge.pair] in asked and isfinite(stated):
                found.append(Statement(what, stated, verdict[edge.pair] in right))
        if verdict[edge.pair] == "right" and STAGE in edge.evidence:
            found.append(Statement("stage", edge.evidence[STAGE], edge.child in truth.generalisation))
    return found


def stages_right(found: Iterable[Result], general: bool) -> tuple[int, int]:
    """Of true edges of generalisation, or of specialisation, how many are said to be, and how many there are."""
    told = [
        (one.probability >= LIKELIER) == general
        for result in found
        for one in result.statements
        if one.what == "stage" and one.right == general
    ]
    return sum(told), len(told)


def calibrated(found: Iterable[Result], what: str, bins: int = 10) -> Reliability:
    """The reliability of one kind of statement over all results."""
    told = _told(found, what)
    return calibration([one.probability for one in told], [one.right for one in told], bins)


def scatter(found: Iterable[Result], what: str) -> float:
    """The calibration error that this many such statements would have if they were perfect."""
    return unavoidable_error([one.probability for one in _told(found, what)])


def _told(found: Iterable[Result], what: str) -> list[Statement]:
    return [one for result in found for one in result.statements if one.what == what]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; NaN where there is none."""

    mean: float
    deviation: float
    seeds: int


def spread(found: Iterable[Result], value: Callable[[Result], float]) -> Spread:
    """Of a number over results that differ in their seed; those that have none do not count."""
    values = [number for number in map(value, found) if isfinite(number)]
    if not values:
        return Spread(nan, nan, 0)
    return Spread(mean(values), stdev(values) if len(values) > 1 else nan, len(values))


def by_split(found: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results of each split and method, seed by seed, in the order in which they came."""
    groups: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in found:
        groups[result.split, result.method].append(result)
    return dict(groups)


def scores(families: Sequence[Family], models: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    """The score of every method on measured families, given what truth.json says of their members."""
    placed = {name for _, names in families for name in names}
    parents = {name: tuple(one for one in models[name]["parents"] if one in placed) for name in placed}
    generalisation = frozenset(name for name in placed if models[name].get("stage") == "generalisation")
    copies = tuple((one, *parents[one]) for one in placed if models[one]["relation"] == "duplicate" and parents[one])
    truth = Truth(parents, copies=copies, generalisation=generalisation)
    return {method: scored(answer, truth) for method, answer in answers(families, truth, {}).items()}
