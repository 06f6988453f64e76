"""The commands `hublineage runs` and `hublineage diff`: what inferences answered, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hublineage import history
from hublineage.context import console, print_json, working
from hublineage.options import DataDir, Json
from lineage.history import KINDS, Difference, EdgeChange, Seen

app = typer.Typer(help="The runs of inference: list them, pin them, remove old ones.", invoke_without_command=True)

Number = Annotated[int, typer.Argument(help="The run's number, as `hublineage runs` lists it.", min=1)]


@app.callback()
def runs(
    context: typer.Context,
    family: Annotated[str | None, typer.Option(help="Only the runs of this family.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the runs of inference, the newest of each family first; `*` marks the one that answers."""
    if context.invoked_subcommand is not None:
        return
    with working(data_dir) as work:
        found = history.listed(work.engine, family)
    if as_json:
        print_json({"runs": found})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "family", "method", "finished", "members", "trees", "edges", "decided", ""):
        table.add_column(column)
    for row in found:
        marks = " ".join(mark for mark, there in (("*", row["is_current"]), ("pinned", row["pinned"])) if there)
        numbers = (str(row[name]) for name in ("members", "trees", "edges", "decided"))
        method = variant(row["method"], row["parameters"])
        table.add_row(str(row["number"]), row["family"], method, row["finished_at"], *numbers, marks)
    console().print(table)


def variant(method: str, parameters: Mapping[str, Any]) -> str:
    """A method with what its runs differ in by choice: "phylogeny (dbscan, centroid)", "recover (detector)"."""
    told = [str(parameters[name]) for name in ("metric", "clustering", "initialisation") if parameters.get(name)]
    told += [f"{parameters['trees']} trees"] if parameters.get("trees") else []
    told += ["detector"] if parameters.get("detector") else []
    return f"{method} ({', '.join(told)})" if told else method


@app.command()
def pin(number: Number, data_dir: DataDir = None) -> None:
    """Keep a run whatever its age."""
    with working(data_dir) as context:
        history.pin(context.engine, number, pinned=True)
    console().print(f"run {number} is pinned", highlight=False)


@app.command()
def unpin(number: Number, data_dir: DataDir = None) -> None:
    """Let a run go when its time comes."""
    with working(data_dir) as context:
        history.pin(context.engine, number, pinned=False)
    console().print(f"run {number} is not pinned", highlight=False)


@app.command()
def prune(
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Runs of each family that are kept beside the current one; the settings' by default."),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0, help="And of these, only the ones younger than so many; the settings' by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Remove old runs, and measures of earlier versions that were taken anew.

    Runs that answer now, are pinned, or have verdicts that rest on them always stay. The settings' [retention] has the
    policy (docs/settings.md), which `hublineage schedule` lets workers apply every night.
    """
    with working(data_dir) as context:
        said = context.settings.retention
        policy = history.Policy(said.keep_runs if keep is None else keep, said.keep_days if days is None else days)
        removed = history.apply_retention(context.engine, policy, dry_run=dry_run)
    if as_json:
        print_json({**asdict(removed), "dry_run": dry_run})
        return
    verb = "would remove" if dry_run else "removed"
    numbers = f" ({', '.join(map(str, removed.runs))})" if removed.runs else ""
    console().print(
        f"{verb} {len(removed.runs)} runs{numbers} and {len(removed.batches)} batches of outdated measures",
        highlight=False,
    )


def diff(
    before: Annotated[str, typer.Argument(metavar="RUN|FAMILY", help="A run's number, or a family's name.")],
    after: Annotated[str | None, typer.Argument(metavar="RUN", help="The run that it is held against.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say what changed between two runs of a family, and what each change goes with.

    hublineage diff 3 7                   # these two, also of two methods

    hublineage diff 7                     # this one, and the one before it

    hublineage diff bert-12x768-a1b2c3    # the family's last two
    """
    with working(data_dir) as context:
        found = history.compared(context.engine, before, after)
    if as_json:
        print_json(as_data(found))
    else:
        print_difference(console(), found)


def as_data(found: Difference) -> dict[str, Any]:
    """A difference for programs: models by their names."""

    def names(models: Iterable[int]) -> list[str]:
        return [found.name(model) for model in models]

    def seen(parents: Mapping[int, Seen]) -> dict[str, Any]:
        return {found.name(parent): asdict(edge) for parent, edge in parents.items()}

    return {
        "before": found.before.number,
        "after": found.after.number,
        "same": found.same,
        "settings": [{"what": what, "before": old, "after": new} for what, old, new in found.settings],
        "joined": names(found.joined),
        "left": names(found.left),
        "new_revision": names(found.new_revision),
        "another_root": names(found.rerooted),
        "edges": [
            {
                "kind": change.kind,
                "model": found.name(change.child),
                "before": seen(change.before),
                "after": seen(change.after),
                "because": list(change.because),
            }
            for change in found.edges
        ],
        **{
            title: [sorted(names(group)) for group in groups]
            for title, groups in (
                ("new_duplicates", found.new_duplicates),
                ("lost_duplicates", found.lost_duplicates),
                ("new_absent_parents_of", found.new_absent),
                ("lost_absent_parents_of", found.lost_absent),
            )
        },
    }


def print_difference(screen: Console, found: Difference) -> None:
    """A difference in words."""

    def say(text: str) -> None:
        screen.print(text, highlight=False, markup=False)

    say(f"run {found.before.number} against run {found.after.number}")
    for what, old, new in found.settings:
        say(f"  {what}: {old} -> {new}")
    for line in _members(found):
        say(f"  {line}")
    for change in found.edges:
        say(f"  {_changed(found, change)}")
        if change.because:
            say(f"    with: {'; '.join(change.because)}")
    for title, groups in (
        ("equal now", found.new_duplicates),
        ("no longer equal", found.lost_duplicates),
        ("children of a parent that is absent", found.new_absent),
        ("no longer children of an absent parent", found.lost_absent),
    ):
        for group in groups:
            say(f"  {title}: {', '.join(sorted(found.name(model) for model in group))}")
    if found.same:
        say("  they answer the same")


def _members(found: Difference) -> list[str]:
    """What became of members; those that have another root together with all that have it in place of the same."""
    lines = [
        f"{title}: {found.name(model)}"
        for title, models in (("joined", found.joined), ("left", found.left), ("new revision", found.new_revision))
        for model in models
    ]
    groups: dict[tuple[str, str], list[str]] = {}
    for model in found.rerooted:
        roots = (found.before.roots.get(model), found.after.roots.get(model))
        old, new = ("nobody" if one is None else found.name(one) for one in roots)
        groups.setdefault((old, new), []).append(found.name(model))
    return lines + [f"another root: {old} -> {new}, above {', '.join(models)}" for (old, new), models in groups.items()]


def _changed(found: Difference, change: EdgeChange) -> str:
    def parents(seen: Mapping[int, Seen]) -> str:
        said = (
            f"{found.name(parent)} ({edge.relation}, {edge.confidence:.2f}{'' if edge.decided else ', undecided'})"
            for parent, edge in seen.items()
        )
        return " and ".join(said) or "nobody"

    return f"{found.name(change.child)} {KINDS[change.kind]}: {parents(change.before)} -> {parents(change.after)}"
