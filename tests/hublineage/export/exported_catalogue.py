"""A catalogue with all that an export may meet: a merge across trees, a copy, an undecided edge, and odd names."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from db import declared
from db import lineage as rows
from db.engine import transaction
from db.models import DeclaredParent, Family, File, Repository, Revision, SourceRow

HUB = "https://hub.example"
FAMILY = 'tiny "2x2" é'
MADE = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

ROOT = 'org/root "big" model'
CHILD = "org/child, with comma"
GRANDCHILD = "ünï/模型 (v2)"
MERGE = "o'neil/merge [a:b]; c"
COPY = "org/copy"
UNSURE = "org/unsure\\back"
OTHER = "elm/other_root"
LEFT, RIGHT = "elm/left", "elm/right"
LISTED = "org/listed & <only>"
FIRST_TREE = (ROOT, CHILD, GRANDCHILD, MERGE, COPY, UNSURE)
SECOND_TREE = (OTHER, LEFT, RIGHT)
# (parent, child): relation, confidence, decided, squared distance
EDGES: dict[tuple[str, str], tuple[str, float, bool, float | None]] = {
    (ROOT, CHILD): ("finetune", 0.97, True, 4.0),
    (CHILD, GRANDCHILD): ("adapter", 0.9, True, 0.25),
    (CHILD, MERGE): ("merge", 0.8, True, 1.0),
    (OTHER, MERGE): ("merge", 0.7, True, 2.25),
    (ROOT, UNSURE): ("finetune", 0.3, False, 9.0),
    (OTHER, LEFT): ("finetune", 0.6, True, 1.0),
    (OTHER, RIGHT): ("finetune", 0.6, True, None),
}
CARDS: dict[str, dict[str, Any]] = {
    ROOT: {
        "license": "apache-2.0",
        "language": ["en", "de"],
        "datasets": ["org/data"],
        "model-index": [
            {
                "name": "r",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"name": "GLUE", "type": "glue"},
                        "metrics": [{"type": "accuracy", "value": 0.91}],
                    }
                ],
            }
        ],
    },
    CHILD: {"license": "llama2"},
    GRANDCHILD: {"license": "other", "license_name": "my own licence", "license_link": "https://hub.example/licence"},
}
DECLARED: dict[str, list[tuple[str, str]]] = {
    CHILD: [(ROOT, "finetune")],
    MERGE: [(CHILD, "merge"), ("gone/away \"x\"", "merge")],
    UNSURE: [(OTHER, "finetune")],
}  # fmt: skip


def _declared(name: str, relation: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("hub_id", "weight", "layers", "detail"))
    return {"name": name, "relation": relation, "source": "card", "kind": "hub", **nothing}


def filled(engine: Engine) -> None:
    """Fill an empty database."""
    with transaction(engine) as session:
        source = SourceRow(name=HUB)
        session.add(source)
        session.flush()
        family = Family(source_id=source.id, name=FAMILY)
        unseen = Family(source_id=source.id, name="never inferred")
        session.add_all([family, unseen])
        session.flush()
        number = {
            name: _model(session, source.id, name, family.id, f"{position:040x}")
            for position, name in enumerate([*FIRST_TREE, *SECOND_TREE], start=1)
        }
        _model(session, source.id, LISTED, unseen.id, "f" * 40)
        for name, parents in DECLARED.items():
            declared.store(session, number[name], [_declared(*parent) for parent in parents])
        _resolve(session)
        _infer(session, family.id, number)


def _resolve(session: Session) -> None:
    repositories = {row.name: row.id for row in session.scalars(select(Repository))}
    for row in session.scalars(select(DeclaredParent)):
        known = repositories.get(row.name)
        row.parent_id, row.resolution = known, "dangling" if known is None else "exact"
    session.flush()


def _model(session: Session, source: int, name: str, family: int, sha: str) -> int:
    repository = Repository(source_id=source, name=name, created_at=MADE, tags=["a, b", 'say "c"', "", "ü"])
    session.add(repository)
    session.flush()
    revision = Revision(
        repository_id=repository.id,
        sha=sha,
        weights="safetensors",
        family_id=family,
        card_data=CARDS.get(name),
        config={"architectures": ["TinyForImageClassification"], "model_type": "tiny"},
        described_at=MADE,
    )
    session.add(revision)
    session.flush()
    repository.current_revision_id = revision.id
    digest = hashlib.sha256(b"same" if name in {CHILD, COPY} else name.encode()).hexdigest()
    session.add(File(revision_id=revision.id, path="model.safetensors", size=100, sha256=digest))
    session.add(File(revision_id=revision.id, path="README.md", size=10))
    session.flush()
    return revision.id


def _infer(session: Session, family: int, number: dict[str, int]) -> None:
    run = rows.add_run(
        session,
        {
            "family_id": family,
            "method": "recover",
            "parameters": {"decide": 0.5},
            "versions": {"hublineage": "0.1.0"},
            "inputs": {},
            "inputs_digest": hashlib.sha256(b"inputs").digest(),
            "notes": [],
            "finished_at": MADE,
        },
    )
    for position, (members, root) in enumerate(((FIRST_TREE, ROOT), (SECOND_TREE, OTHER))):
        edges = [
            {
                "parent_id": number[parent],
                "child_id": number[child],
                "relation": relation,
                "confidence": confidence,
                "decided": decided,
                "evidence": {"scatter": 0.5} | ({} if squared is None else {"squared_distance": squared}),
            }
            for (parent, child), (relation, confidence, decided, squared) in EDGES.items()
            if child in members
        ]
        absent = [{number[LEFT]: 0.25, number[RIGHT]: None}] if position == 1 else []
        rows.add_cluster(
            session, run.id, position, (number[root], 0.75), [number[one] for one in members], edges, absent
        )
    rows.add_duplicates(session, run.id, [[number[CHILD], number[COPY]]])
    rows.set_current(session, run)
