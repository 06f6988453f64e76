"""All that a database holds of a source in the end, by natural keys, so that two ways to it can be compared.

Ids, times, numbers of attempts, the batches in which members were measured, and who of those with equal files was, may
differ from way to way; nothing else may. Rows are compared as words, which must be equal, and floating-point numbers,
which may differ as far as the order of members changes how they are added up.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select, text

from benchmarks import soak_catalogue
from db import measurements
from db.engine import transaction
from db.models import Family
from lineage.blocks import known_sketches
from lineage.measure_options import METRIC_VERSION
from lineage.stored import load_measures

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

RELATIVE, ABSOLUTE = 1e-5, 1e-9  # slopes and shares are stored in float32

# A family by the first name among its members: it has no other that lasts.
_LABELS = """
    SELECT family_id, min(name) AS label FROM revisions JOIN repositories ON repositories.id = repository_id
    WHERE family_id IS NOT NULL GROUP BY family_id
"""
_NAMES = "SELECT revisions.id, repositories.name FROM revisions JOIN repositories ON repositories.id = repository_id"
_OF_TREE = """
    JOIN clusters AS tree ON tree.id = it.cluster_id JOIN runs AS run ON run.id = tree.run_id AND run.is_current
    JOIN labels ON labels.family_id = run.family_id
"""

# ruff: noqa: S608  # constants of this file
# Only what answers now: how many runs there were on the way depends on when members came.
_INFERRED = {
    "runs": """
        SELECT label, method, parameters, versions::jsonb - 'code', notes,
            inputs -> 'metric_version', inputs -> 'revisions',
            jsonb_array_length(inputs -> 'measured')
        FROM runs JOIN labels USING (family_id) WHERE is_current
    """,
    "trees": """
        SELECT label, root.name, it.root_confidence, array_agg(member.name ORDER BY member.name)
        FROM clusters AS it JOIN runs AS run ON run.id = it.run_id AND run.is_current
        JOIN labels ON labels.family_id = run.family_id LEFT JOIN names AS root ON root.id = it.root_revision_id
        JOIN cluster_members ON cluster_members.cluster_id = it.id
        JOIN names AS member ON member.id = cluster_members.revision_id
        GROUP BY label, it.id, root.name
    """,
    "edges": f"""
        SELECT label, parent.name, child.name, relation, decided, confidence, evidence FROM edges AS it {_OF_TREE}
        JOIN names AS parent ON parent.id = parent_id JOIN names AS child ON child.id = child_id
    """,
    "absent parents": f"""
        SELECT label, array_agg(child.name ORDER BY child.name), array_agg(squared_distance ORDER BY child.name)
        FROM absent_parents AS it {_OF_TREE} JOIN names AS child ON child.id = child_id
        GROUP BY label, it.cluster_id, it.number
    """,
    "duplicates": """
        SELECT label, one.name, original.name
        FROM duplicates AS it JOIN runs AS run ON run.id = it.run_id AND run.is_current
        JOIN labels ON labels.family_id = run.family_id
        JOIN names AS one ON one.id = it.revision_id JOIN names AS original ON original.id = it.of_id
    """,
    "verdicts": """
        SELECT names.name, verdict, why, declared, inferred, run.is_current
        FROM verdicts JOIN names ON names.id = revision_id LEFT JOIN runs AS run ON run.id = run_id
    """,
    "licences": """
        SELECT names.name, to_jsonb(licences) - 'revision_id' - 'compared_at'
        FROM licences JOIN names ON names.id = revision_id
    """,
    "licence findings": """
        SELECT names.name, to_jsonb(licence_findings) - 'revision_id' - 'found_at'
        FROM licence_findings JOIN names ON names.id = revision_id
    """,
}  # fmt: skip
QUERIES = {
    **soak_catalogue.QUERIES,
    **{name: f"WITH labels AS ({_LABELS}), names AS ({_NAMES}) {query}" for name, query in _INFERRED.items()},
}


@dataclass(frozen=True, order=True)
class Row:
    """One row: what must be equal, and what must be nearly so."""

    words: str
    numbers: tuple[float, ...] = ()


Tables = Mapping[str, Sequence[Row]]


def tables(engine: Engine) -> Tables:
    """All rows of each kind, in order."""
    found: dict[str, list[Row]] = {}
    with engine.connect() as connection:
        sources = connection.scalars(text("SELECT name FROM sources ORDER BY length(name) DESC")).all()
        for name, query in QUERIES.items():
            found[name] = [row_of(row, sources) for row in connection.execute(text(query))]
    with transaction(engine) as session:
        for family in session.scalars(select(Family)):
            for name, rows in _measures(session, family.id).items():
                found.setdefault(name, []).extend(rows)
    return {name: sorted(rows) for name, rows in found.items()}


def row_of(values: Iterable[Any], sources: Iterable[str] = ()) -> Row:
    """A row of these values: floating-point numbers, wherever they stand, are taken out of the words."""
    numbers: list[float] = []

    def word(value: Any) -> str:
        if isinstance(value, float):
            numbers.append(value)
            return "#"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{key}: {word(one)}" for key, one in sorted(value.items())) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(word(one) for one in value) + "]"
        return str(value)

    words = " | ".join(word(value) for value in values)
    for number, source in enumerate(sources):
        words = words.replace(source, f"source {number}")
    return Row(words, tuple(numbers))


def differences(expected: Tables, found: Tables) -> list[str]:
    """A line for each row that only one has: "- " what was expected, "+ " what was found, "~ " with other numbers."""
    lines: list[str] = []
    for name in sorted({*expected, *found}):
        ours, theirs = _by_words(expected.get(name, ())), _by_words(found.get(name, ()))
        for words in sorted({*ours, *theirs}):
            here, there = ours.get(words, []), theirs.get(words, [])
            if len(here) != len(there):
                sign = "-" if len(here) > len(there) else "+"
                lines += [f"{sign} {name}: {words}"] * abs(len(here) - len(there))
            lines += [
                f"~ {name}: {words}: {worst}"
                for one, other in zip(here, there, strict=False)
                if (worst := _furthest(one, other)) is not None
            ]
    return lines


def without(found: Tables, model: str) -> Tables:
    """The rows that do not speak of a model; families and runs without it among their members."""
    named = rf"(?<![\w./-]){re.escape(model)}(?![\w./-])"
    member = re.compile(rf"[^,|\[\]{{}}]*{named}[^,|\[\]{{}}]*")

    def left(name: str, row: Row) -> Row | None:
        if re.search(named, row.words) is None:
            return row
        if name not in {"families", "runs"}:
            return None
        words = member.sub("", row.words).replace(",,", ",")
        return Row(re.sub(r"(?<=[\[{]), ?|,(?=[\]}])", "", words), row.numbers)

    kept = {name: [left(name, row) for row in rows] for name, rows in found.items()}
    return {name: [row for row in rows if row is not None] for name, rows in kept.items()}


def _by_words(rows: Iterable[Row]) -> dict[str, list[tuple[float, ...]]]:
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for row in rows:
        found[row.words].append(row.numbers)
    return found


def _furthest(one: tuple[float, ...], other: tuple[float, ...]) -> str | None:
    """The two numbers that differ most, None where none differ by more than they may."""
    if len(one) != len(other):
        return f"{len(one)} numbers, not {len(other)}"
    apart = [
        (abs(a - b), a, b)
        for a, b in zip(one, other, strict=True)
        if not (math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(a) and math.isnan(b)))
    ]
    return None if not apart else f"{max(apart)[1]:.9g}, not {max(apart)[2]:.9g}"


def _measures(session: Session, family: int) -> dict[str, list[Row]]:
    """The measures of a family's current members, by their names: of each, and of each pair.

    Of members with equal files one is measured, and named as the first of them.
    """
    measures = load_measures(session, family)
    current = measurements.members(session, family)
    standing: dict[bytes, str] = {}
    for member in sorted(current, key=lambda member: member.name):
        if member.weights_digest is not None:
            standing.setdefault(member.weights_digest, member.name)
    names = {member.revision_id: standing.get(member.weights_digest or b"", member.name) for member in current}
    members = [names[one] for one in measures.members]
    if not members:
        return {}
    label = min(members)
    layers = [f"{layer.name} {list(layer.shape)} {layer.kind.value}" for layer in measures.layers]
    order = sorted(range(len(layers)), key=layers.__getitem__)
    each = (measures.count, measures.zeros, measures.outliers, measures.form)
    numbers = (measures.squared_norm, measures.variance, measures.kurtosis)
    pairs = (measures.squared_distance, measures.slope, measures.equal, measures.lost)
    sketches = _sketches(session, family)
    found: dict[str, list[Row]] = {"layers": [Row(f"{label} | {one}") for one in layers]}
    found["measures"] = [
        row_of(
            [
                label,
                name,
                [[int(array[layer, at]) for array in each] for layer in order],
                [measures.digest[layer][at].hex() for layer in order],
                [[float(array[layer, at]) for array in numbers] for layer in order],
            ]
        )
        for at, name in enumerate(members)
    ]
    found["sketches"] = [
        row_of([label, name, [sketches.get((layers[layer], measures.members[at]), []) for layer in order]])
        for at, name in enumerate(members)
    ]
    found["pairs"] = []
    for one, first in enumerate(members):
        for other, second in enumerate(members):
            if first < second:
                estimated = measures.estimated is not None and bool(measures.estimated[one, other])
                ranks = [int(measures.rank[layer, one, other]) for layer in order]
                values = np.concatenate([array[order, one, other] for array in pairs if array is not None])
                row = row_of([label, first, second, estimated, ranks])
                found["pairs"].append(Row(row.words, tuple(map(float, values))))
    return found


def _sketches(session: Session, family: int) -> dict[tuple[str, int], list[float]]:
    """The sketch of each layer of each member."""
    found = {}
    for row in measurements.family_layers(session, family):
        for revision, (_, sketch) in known_sketches(session, row, METRIC_VERSION).items():
            found[f"{row.name} {list(row.shape)} {row.kind}", revision] = list(map(float, sketch))
    return found
