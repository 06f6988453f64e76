"""A catalogue of synthetic models, declared and inferred parents, written by COPY: for how fast questions are answered.

Families and trees have sizes of a power law; the largest family holds a seventh of all models and one tree of two
thirds of that. In most trees a new model takes a parent with a chance that grows with the children that this has
(preferential attachment), so a few have very many; one tree in twenty is a chain. A part of the models are merges of
several, edges are undecided, duplicates, declared rightly, wrongly, as an ancestor, in circles, under names that no
repository has, and in several places of a card. All of it follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.answers_licences import finding_rows, licence_of, licence_rows
from benchmarks.answers_names import name_of

SOURCE = "https://hub.example"
_UNMEASURED = 0.08  # of all models: listed only, and in no family
_CHAINS = 0.05
_CHAIN_LENGTH = 1_000
_UNDECIDED = 0.05
_DUPLICATES = 0.02
_ORGANISATIONS = 0.15  # per model
_BLOCK = 20_000


@dataclass(frozen=True)
class Synthetic:
    """Arrays over N models, by position; -1 stands for none."""

    family: NDArray[np.int64]  # (N,)
    tree: NDArray[np.int64]  # (N,)
    roots: NDArray[np.int64]  # (trees,) positions
    parent: NDArray[np.int64]  # (N,) the first parent of each
    merged: NDArray[np.int64]  # (m, 2) child, further parent
    decided: NDArray[np.bool_]  # (N,) of the edge to the first parent
    confidence: NDArray[np.float64]  # (N,)
    duplicate: NDArray[np.bool_]  # (N,) equal to its parent rather than trained from it
    declared: NDArray[np.int64]  # (N,) the declared parent; -2: a name that no repository has
    verdict: NDArray[np.str_]  # (N,)

    @property
    def models(self) -> int:
        """N."""
        return len(self.family)


def synthetic(models: int, seed: int) -> Synthetic:
    """N models with N inferred edges."""
    draw = np.random.default_rng(seed)
    measured = int(models * (1 - _UNMEASURED))
    sizes = _sizes(draw, measured)
    tree = np.full(models, -1)
    tree[:measured] = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Every tree is a family of its own up to a size, small ones share.
    family_of_tree = np.cumsum(sizes > 50) if len(sizes) > 1 else np.zeros(1, dtype=np.int64)
    family_of_tree = np.where(sizes > 50, family_of_tree, np.arange(len(sizes)) // 200 + family_of_tree.max() + 1)
    _, family_of_tree = np.unique(family_of_tree, return_inverse=True)
    family = np.where(tree >= 0, family_of_tree[tree], -1)
    parent = np.full(models, -1)
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        parent[start + 1 : start + size] = start + _attached(draw, size)
    children = np.flatnonzero(parent >= 0)
    more = models - len(children)
    merging = draw.choice(children[sizes[tree[children]] > 3], more)
    other = starts[tree[merging]] + (draw.random(more) * (merging - starts[tree[merging]])).astype(np.int64)
    merged = np.unique(np.stack([merging, other], 1)[other != parent[merging]], axis=0)
    duplicate = (parent >= 0) & (draw.random(models) < _DUPLICATES)
    duplicate[parent] &= False  # who has children stands in the tree
    decided = (draw.random(models) >= _UNDECIDED) & ~duplicate
    confidence = np.where(decided, 0.7 + 0.3 * draw.random(models), 0.6 * draw.random(models))
    declared, verdict = _declared(draw, parent, starts, tree, decided, duplicate)
    return Synthetic(family, tree, starts, parent, merged, decided, confidence, duplicate, declared, verdict)


def _sizes(draw: np.random.Generator, measured: int) -> NDArray[np.int64]:
    """Sizes of trees that add up to all measured models: one of a tenth of them, the rest of a power law."""
    sizes = [max(measured // 9, 1)]
    left = measured - sizes[0]
    while left > 0:
        some = np.minimum((3 * (draw.pareto(1.1, 10_000) + 1)).astype(np.int64), max(measured // 30, 1))
        for size in some.tolist():
            sizes.append(min(size, left))
            left -= sizes[-1]
            if left == 0:
                break
    return np.array(sizes)


def _attached(draw: np.random.Generator, size: int) -> NDArray[np.int64]:
    """The parents of the second and all later models of a tree, within it: of a chain, or the richer the likelier."""
    if size <= _CHAIN_LENGTH and draw.random() < _CHAINS:
        return np.arange(size - 1)
    parents = np.empty(max(size - 1, 0), dtype=np.int64)
    chance, place = draw.random(size).tolist(), draw.random(size).tolist()
    for child in range(1, size):
        # An end of an earlier edge is a model by its degree; the other half of the time any model.
        earlier = int(place[child] * child)
        parents[child - 1] = parents[earlier - 1] if earlier and chance[child] < 0.7 else earlier
    return parents


def _declared(
    draw: np.random.Generator,
    parent: NDArray[np.int64],
    starts: NDArray[np.int64],
    tree: NDArray[np.int64],
    decided: NDArray[np.bool_],
    duplicate: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """What each model declares, and the verdict that follows."""
    size = len(parent)
    kind = draw.random(size)
    above = np.where(parent >= 0, parent[parent], -1)
    stranger = draw.integers(0, size, size)
    declared = np.full(size, -1)
    verdict = np.full(size, "undeclared", dtype="<U12")
    for here, what, said in (
        (kind < 0.62, parent, "agrees"),
        ((kind >= 0.62) & (kind < 0.72) & (above >= 0), above, "ancestor"),
        ((kind >= 0.72) & (kind < 0.82), stranger, "contradicted"),
        ((kind >= 0.82) & (kind < 0.88), np.full(size, -2), "unmeasured"),
    ):
        declared = np.where(here & (what != np.arange(size)), what, declared)
        verdict = np.where(here, said, verdict)
    verdict = np.where((parent < 0) & (tree >= 0) & (declared == -1), "root", verdict)
    verdict = np.where((parent >= 0) & ~decided, "undecided", verdict)
    verdict = np.where(duplicate, "duplicate", verdict)
    verdict = np.where(tree < 0, "unmeasured", verdict)
    roots = starts[tree >= 0] if len(starts) == size else starts
    for root in roots[:: max(len(roots) // (size // 2_000 + 1), 1)].tolist():  # that declare what was trained from them
        if root + 1 < size and tree[root + 1] == tree[root]:
            declared[root], verdict[root] = root + 1, "reversed"
    return declared, verdict


def write(connection: psycopg.Connection, made: Synthetic, declared: int) -> None:
    """Write it into an empty, migrated database, with about `declared` declared parents; ids are positions + 1."""
    everything = range(made.models)
    measured = np.flatnonzero(made.tree >= 0).tolist()
    family, tree, parent = made.family.tolist(), made.tree.tolist(), made.parent.tolist()
    families = sorted(set(family) - {-1})
    family_of_tree = made.family[made.roots].tolist()
    connection.execute("SET session_replication_role = replica")  # the references are right by construction
    connection.execute("INSERT INTO sources (id, name) OVERRIDING SYSTEM VALUE VALUES (1, %s)", [SOURCE])

    def copy(table: str, columns: str, rows: Iterable[Sequence[object]]) -> None:
        _copy(connection, f"COPY {table} ({columns}) FROM STDIN", rows)

    copy("families", "id, source_id, name", ((one + 1, 1, f"arch-{one}") for one in families))
    copy(
        "runs",
        "id, family_id, method, parameters, versions, inputs, inputs_digest, is_current",
        ((one + 1, one + 1, "recover", "{}", "{}", "{}", rf"\\x{one:08x}", "t") for one in families),
    )
    copy(
        "repositories",
        "id, source_id, name, hub_id, author, downloads, likes, tags, model_type, current_revision_id",
        (
            (n + 1, 1, name_of(n), f"hub-{n}", name_of(n).split("/")[0], n % 1_000, n % 50, "{}", "llama", n + 1)
            for n in everything
        ),
    )
    copy(
        "revisions",
        "id, repository_id, sha, card_data, weights, family_id, described_at",
        ((n + 1, n + 1, f"{n:040x}", _card(n), *_weights(family[n])) for n in everything),
    )
    copy(
        "clusters",
        "id, run_id, position, root_revision_id, root_confidence",
        ((one + 1, family_of_tree[one] + 1, one, root + 1, 0.9) for one, root in enumerate(made.roots.tolist())),
    )
    copy("cluster_members", "cluster_id, revision_id, run_id", ((tree[n] + 1, n + 1, family[n] + 1) for n in measured))
    copy("edges", "cluster_id, parent_id, child_id, relation, confidence, decided, evidence", _edges(made))
    copy(
        "duplicates",
        "run_id, revision_id, of_id",
        ((family[n] + 1, n + 1, parent[n] + 1) for n in np.flatnonzero(made.duplicate).tolist()),
    )
    copy(
        "declared_parents", "revision_id, name, relation, source, kind, parent_id, resolution", _claims(made, declared)
    )
    copy("verdicts", "revision_id, run_id, verdict, why, declared, inferred", _verdicts(made))
    copy("licences", "revision_id, declared, licences, declared_in, ancestors, unchecked", licence_rows(made))
    copy("licence_findings", "revision_id, kind, licence, severity, path, confidence, why, cite", finding_rows(made))
    connection.execute("SET session_replication_role = origin")
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")


def _weights(family: int) -> tuple[str, int | None, str | None]:
    """What became of a revision's weights, its family, and when that was."""
    return ("safetensors", family + 1, "now") if family >= 0 else ("unread", None, None)


def _card(position: int) -> str:
    licence = licence_of(position)
    return f'{{"license": "{licence}"}}' if licence else "{}"


def _edges(made: Synthetic) -> Iterator[Sequence[object]]:
    evidence = '{"margin": 2.5, "direction": 0.97, "adjacency": 0.98, "squared_distance": 0.125}'
    tree, parent = made.tree.tolist(), made.parent.tolist()
    decided, confidence, duplicate = made.decided.tolist(), made.confidence.tolist(), made.duplicate.tolist()
    merging = set(made.merged[:, 0].tolist())
    for n in np.flatnonzero(made.parent >= 0).tolist():
        relation = "duplicate" if duplicate[n] else "merge" if n in merging else "lora" if n % 3 else "finetune"
        yield tree[n] + 1, parent[n] + 1, n + 1, relation, confidence[n], decided[n], evidence
    for n, other in made.merged.tolist():
        yield tree[n] + 1, other + 1, n + 1, "merge", confidence[n], decided[n], evidence


def _claims(made: Synthetic, wanted: int) -> Iterator[Sequence[object]]:
    """The declared parent of each model from several sources, as many rows as are wanted."""
    written = 0
    places = (("card", "finetune"), ("tags", "finetune"), ("baseModels", "finetune"), ("prose", "unknown"))
    for source, relation in places:
        for n, parent in enumerate(made.declared.tolist()):
            if parent == -1:
                continue
            if written == wanted:
                return
            written += 1
            name = name_of(parent) if parent >= 0 else f"org-gone/model-{n % 5_000}"
            yield (
                n + 1,
                name,
                relation,
                source,
                "hub",
                parent + 1 if parent >= 0 else None,
                "exact" if parent >= 0 else "dangling",
            )


def _verdicts(made: Synthetic) -> Iterator[Sequence[object]]:
    verdict, declared, parent, family = (
        made.verdict.tolist(), made.declared.tolist(), made.parent.tolist(), made.family.tolist(),
    )  # fmt: skip
    for n in range(made.models):
        claim = name_of(declared[n]) if declared[n] >= 0 else ""
        found = name_of(parent[n]) if parent[n] >= 0 else ""
        why = f"declares {claim or 'no parent'}; the inferred parent is {found or 'none'}"
        yield n + 1, family[n] + 1 if family[n] >= 0 else None, verdict[n], why, f"{{{claim}}}", f"{{{found}}}"


def _copy(connection: psycopg.Connection, statement: str, rows: Iterable[Sequence[object]]) -> None:
    with connection.cursor().copy(statement.encode()) as copy:
        block: list[str] = []
        for row in rows:
            block.append("\t".join("\\N" if value is None else str(value) for value in row))
            if len(block) == _BLOCK:
                copy.write("\n".join(block) + "\n")
                block.clear()
        if block:
            copy.write("\n".join(block) + "\n")


def descendants_of_all(made: Synthetic) -> NDArray[np.int64]:
    """(N,) how many models are below each by first parents: parents stand before their children."""
    below = np.zeros(made.models, dtype=np.int64)
    parent: list[int] = made.parent.tolist()
    count: Callable[[int], int] = below.item
    for n in range(made.models - 1, -1, -1):
        if parent[n] >= 0:
            below[parent[n]] += count(n) + 1
    return below
