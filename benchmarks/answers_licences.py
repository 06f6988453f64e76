"""Declared licences and what does not follow from them, for the synthetic catalogue of `benchmarks.answers`.

Licences are declared in about the shares of a hub's: many permissive ones, a quarter none. The findings of a model are
those that the rules give for its licence and each of its nearest ancestors by decided first edges; they are worked out
once for each two licences, since nothing else decides them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from benchmarks.answers_names import name_of
from benchmarks.answers_synthetic import Synthetic
from lineage.licence_findings import Ancestor, Finding, findings
from lineage.licences import Declared, read_declared

ANCESTORS = 12  # that are stored with a model, the nearest
# Per cent of models that declare each.
_SHARES: Mapping[str, int] = {
    "apache-2.0": 34, "mit": 14, "llama2": 4, "llama3": 5, "gemma": 4, "cc-by-nc-4.0": 5, "cc-by-sa-4.0": 2,
    "openrail": 3, "other": 4, "": 25,
}  # fmt: skip
_LICENCES = [name for name, share in _SHARES.items() for _ in range(share)]


def licence_of(position: int) -> str:
    """The licence that the model at a position declares; empty: none."""
    return _LICENCES[position * 2_654_435_761 % 2**32 % len(_LICENCES)]


@cache
def _declared(licence: str) -> Declared:
    return read_declared({"license": licence} if licence else {})


@cache
def _findings(own: str, theirs: str, relation: str) -> tuple[Finding, ...]:
    """What the rules find for a model under one licence, made from one under another."""
    above = Ancestor(("ANCESTOR", "MODEL"), (relation,), 1.0)
    return findings("MODEL", _declared(own), [above], {"ANCESTOR": _declared(theirs)})


def _above(made: Synthetic) -> Iterator[tuple[int, list[tuple[list[int], float]]]]:
    """(model, [(positions from an ancestor down to the model, confidence)]) by decided first edges, nearest first."""
    parent, decided, confidence = made.parent.tolist(), made.decided.tolist(), made.confidence.tolist()
    for n in range(made.models):
        found: list[tuple[list[int], float]] = []
        path, sure, here = [n], 1.0, n
        while len(found) < ANCESTORS and parent[here] >= 0 and decided[here]:
            sure *= confidence[here]
            here = parent[here]
            path = [here, *path]
            found.append((path, sure))
        yield n, found


def licence_rows(made: Synthetic) -> Iterator[Sequence[object]]:
    """revision_id, declared, licences, declared_in, ancestors, unchecked of every model."""
    for n, above in _above(made):
        own = licence_of(n)
        ancestors = [
            {
                "model": name_of(path[0]),
                "declared": list(_declared(licence_of(path[0])).names),
                "licences": list(_declared(licence_of(path[0])).ids),
                "path": [name_of(one) for one in path],
                "relations": ["finetune"] * (len(path) - 1),
                "confidence": sure,
            }
            for path, sure in above
        ]
        names = f"{{{own}}}"
        yield n + 1, names, names, "card" if own else None, json.dumps(ancestors), None if above else "no parent"


def finding_rows(made: Synthetic) -> Iterator[Sequence[object]]:
    """revision_id, kind, licence, severity, path, confidence, why, cite of every finding."""
    for n, above in _above(made):
        told: set[tuple[str, str]] = set()
        for path, sure in above:
            for found in _findings(licence_of(n), licence_of(path[0]), "finetune"):
                if (found.kind, found.licence) not in told:
                    told.add((found.kind, found.licence))
                    one = replace(found, why=found.why.replace("ANCESTOR", name_of(path[0])))
                    names = ",".join(name_of(each) for each in path)
                    yield n + 1, one.kind, one.licence, one.severity, f"{{{names}}}", sure, one.why, one.cite
