"""What the commands `show`, `tree` and `verdict` answer, read from the database."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, text

from db.engine import transaction
from db.errors import UsageError
from db.models import (
    Alias,
    DeclaredParent,
    DeclaredProblem,
    Family,
    Repository,
    Revision,
    SourceRow,
    Verdict,
)
from hublineage.result import result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Engine
    from sqlalchemy.orm import Session


def find_model(engine: Engine, name: str, source: str | None = None) -> tuple[int, int, str]:
    """The source, the repository and the exact name of a model, by any name that it had.

    Of several sources that have the name it is the one where it was found last, unless `source` names one. Raises
    UsageError with the nearest names for an unknown one.
    """
    with transaction(engine) as session:
        within = _within(session, source)
        found = session.execute(
            select(Repository.source_id, Repository.id, Repository.name)
            .where(func.lower(Repository.name) == name.lower(), *within)
            .order_by(Repository.removed_at.is_not(None), Repository.name != name, Repository.id.desc())
        ).first()
        if found is None:
            found = session.execute(
                select(Repository.source_id, Repository.id, Repository.name)
                .join(Alias, (Alias.source_id == Repository.source_id) & (Alias.hub_id == Repository.hub_id))
                .where(func.lower(Alias.name) == name.lower(), *within)
                .order_by(Repository.removed_at.is_not(None), Alias.seen_at.desc())
            ).first()
        if found is not None:
            return found[0], found[1], found[2]
        near = _near(session, name, within)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `hublineage status` says what the catalogue holds"
    raise UsageError(f"no model {name!r} in {source or 'the catalogue'}{hint}")


def _within(session: Session, source: str | None) -> list[ColumnElement[bool]]:
    """The condition that a repository is of a source. Raises UsageError for a source that was not crawled."""
    if source is None:
        return []
    number = session.scalar(select(SourceRow.id).where(SourceRow.name == source))
    if number is None:
        raise UsageError(f"{source} was not crawled yet: hublineage crawl comes first")
    return [Repository.source_id == number]


def _near(session: Session, name: str, within: Sequence[ColumnElement[bool]] = ()) -> list[str]:
    """Names like this one, among those that share its last part or a piece of it."""
    last = name.rsplit("/", maxsplit=1)[-1].lower()
    pieces = {last, last[:4], last[-4:], name.split("/", maxsplit=1)[0].lower()} - {""}
    like = [func.lower(Repository.name).contains(piece, autoescape=True) for piece in pieces]
    query = select(Repository.name).where(or_(*like), *within).order_by(Repository.name).limit(10_000)
    known = list(session.scalars(query))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return near + [one for one in known if one.split("/")[-1].lower() == last and one not in near]


def tree_of(
    engine: Engine, name: str, source: str | None = None
) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """The model's tree (None for a model that no run has placed), and the verdicts by model."""
    source_id, _, exact = find_model(engine, name, source)
    everything = result(engine, source_id)
    verdicts = {row["model"]: row for row in everything["verdicts"]}
    trees = (tree for family in everything["families"] for tree in family["trees"] if exact in tree["models"])
    return next(trees, None), verdicts


def why_no_place(engine: Engine, name: str, source: str | None = None) -> str:
    """Why no run has a place for a model, in a sentence with its exact name."""
    _, number, exact = find_model(engine, name, source)
    with transaction(engine) as session:
        why = session.scalar(text("SELECT hublineage_internal.why_no_place(:number)"), {"number": number})
    return f"{exact} is in no tree: {why}"


def model(engine: Engine, name: str, source: str | None = None) -> dict[str, Any]:
    """All that is known of a model: card, parents, children, evidence, duplicates, verdict, failures."""
    source_id, number, exact = find_model(engine, name, source)
    everything = result(engine, source_id)
    judged = next((row for row in everything["verdicts"] if row["model"] == exact), None)
    edges = [edge for family in everything["families"] for tree in family["trees"] for edge in tree["edges"]]
    with transaction(engine) as session:
        repository = session.get_one(Repository, number)
        current = repository.current_revision_id or 0
        revision = session.get(Revision, current)
        return {
            "model": exact,
            "facts": _facts(session, repository, revision),
            "declared": _declared(session, current),
            "declared_problems": [
                f"{kind}: {detail}"
                for kind, detail in session.execute(
                    select(DeclaredProblem.kind, DeclaredProblem.detail)
                    .where(DeclaredProblem.revision_id == current)
                    .order_by(DeclaredProblem.kind, DeclaredProblem.detail)
                )
            ],
            "parents": [_edge(edge, "parent") for edge in edges if edge["child"] == exact],
            "children": [
                {key: value for key, value in _edge(edge, "child").items() if key != "evidence"}
                for edge in edges
                if edge["parent"] == exact
            ],
            "absent": [
                group
                for family in everything["families"]
                for tree in family["trees"]
                for group in tree["absent"]
                if exact in group
            ],
            "missing": [
                node
                for family in everything["families"]
                for tree in family["trees"]
                for node in tree["missing"]
                if any(child["model"] == exact for child in node["children"])
            ],
            "duplicates": [
                one for group in everything["duplicates"] if exact in group for one in group if one != exact
            ],
            "verdict": judged,
            "no_verdict": _no_verdict(repository, revision) if judged is None else None,
            "failures": [row for row in everything["failures"] if row["model"] == exact],
        }


def _declared(session: Session, revision_id: int) -> list[dict[str, Any]]:
    """What a revision declares, and the repository that each name stands for."""
    query = (
        select(DeclaredParent, Repository.name)
        .outerjoin(Repository, Repository.id == DeclaredParent.parent_id)
        .where(DeclaredParent.revision_id == revision_id)
        .order_by(DeclaredParent.id)
    )
    return [
        {
            "name": row.name,
            "relation": row.relation,
            "source": row.source,
            "kind": row.kind,
            "model": model,
            "resolution": row.resolution,
            "weight": row.weight,
            "layers": row.layers,
            "detail": row.detail,
        }
        for row, model in session.execute(query)
    ]


def _edge(edge: dict[str, Any], end: str) -> dict[str, Any]:
    return {"model": edge[end], **{key: edge[key] for key in ("relation", "confidence", "decided", "evidence")}}


def _facts(session: Session, repository: Repository, revision: Revision | None) -> dict[str, Any]:
    card = (revision.card_data if revision is not None else None) or {}
    config = (revision.config if revision is not None else None) or {}
    family = session.get(Family, revision.family_id) if revision is not None and revision.family_id else None
    return {
        "revision": revision.sha if revision is not None else None,
        "weights": revision.weights if revision is not None else "not described",
        "family": family.name if family is not None else None,
        "architectures": repository.architectures or config.get("architectures"),
        "licence": card.get("license"),
        "library": repository.library_name,
        "pipeline": repository.pipeline_tag,
        "created": repository.created_at.isoformat() if repository.created_at else None,
        "last modified": repository.last_modified.isoformat() if repository.last_modified else None,
        "downloads": repository.downloads,
        "likes": repository.likes,
        "gated": repository.gated,
        "private": repository.private or None,
        "disabled": repository.disabled or None,
        "former names": former_names(session, repository),
        "removed": repository.removed_at.isoformat() if repository.removed_at else None,
        "why removed": repository.removed_why,
    }


def former_names(session: Session, repository: Repository) -> list[str]:
    """The names that lead to a repository beside its own."""
    if repository.hub_id is None:
        return []
    query = select(Alias.name).where(
        Alias.source_id == repository.source_id, Alias.hub_id == repository.hub_id, Alias.name != repository.name
    )
    return list(session.scalars(query.order_by(Alias.name)))


def verdict(engine: Engine, name: str, source: str | None = None) -> dict[str, Any]:
    """The verdict on a model as it was compared last; `verdict` is None where there is none yet, and `why` says why."""
    _, number, exact = find_model(engine, name, source)
    with transaction(engine) as session:
        repository = session.get_one(Repository, number)
        found = session.get(Verdict, repository.current_revision_id or 0)
        if found is not None:
            told = {"declared": found.declared, "inferred": found.inferred, "verdict": found.verdict, "why": found.why}
            return {"model": exact, **told}
        why = _no_verdict(repository, session.get(Revision, repository.current_revision_id or 0))
    return {"model": exact, "declared": [], "inferred": [], "verdict": None, "why": why}


def _no_verdict(repository: Repository, revision: Revision | None) -> str:
    """Why there is no verdict on a repository."""
    if repository.removed_at is not None:
        return f"it is gone: {repository.removed_why}"
    if revision is None or revision.weights == "unread":
        return "it is only listed: `hublineage crawl` describes it"
    return "it was not compared yet: `hublineage compare` does it"
