"""A catalogue of synthetic models (answers_synthetic.py), written by COPY: for how fast questions are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.answers_licences import finding_rows, licence_of, licence_rows
from benchmarks.answers_names import name_of
from benchmarks.answers_synthetic import Synthetic

SOURCE = "https://hub.example"
_ORGANISATIONS = 0.15  # per model
_BLOCK = 20_000


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
