"""Results for people: trees and tables on a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

_STYLES = {
    "agrees": "green",
    "root": "green",
    "duplicate": "cyan",
    "ancestor": "yellow",
    "sibling": "yellow",
    "undeclared": "blue",
    "undecided": "magenta",
    "reversed": "red",
    "contradicted": "bold red",
    "unmeasured": "dim",
}


def drawn_tree(tree: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> Tree:
    """A model tree, each child with its edge's relation, confidence and mark: both, inferred or contradicted.

    `verdicts` are by model. Parents that are declared and not inferred hang below the model that declares them, marked
    declared. A merge hangs below each of its parents, with that one's share; one whose other parent is in another tree
    says so. A parent that is not in the catalogue is a node without a name, with its children below it in place of the
    edges among them, and the names that it may have.
    """
    declared = {model: list(row["declared"]) for model, row in verdicts.items()}
    unnamed = {node["node"]: node for node in tree["missing"] if len(node["children"]) > 1}
    children = _children(tree, unnamed.values())
    root = _top(tree, unnamed.values())
    drawing = Tree(_title(root, unnamed), guide_style="dim")
    waiting = [(root, drawing)]
    seen = {root}
    _add_declared(drawing, root, declared, ())
    for name, branch in waiting:
        for child, edge in children.get(name, ()):
            if child in unnamed:
                below = branch.add(_title(child, unnamed))
            elif edge is None:
                below = branch.add(_far_label(child, unnamed[name]))
            else:
                below = branch.add(_edge_label(edge, verdicts.get(child, {"declared": [], "verdict": None})))
            if child in seen:  # a merge hangs below each of its parents, its children below the first
                continue
            seen.add(child)
            waiting.append((child, below))
            parents = [one["parent"] for one in tree["edges"] if one["child"] == child]
            _add_declared(below, child, declared, parents)
            for one in tree["edges"]:
                if one["child"] == child and one["parent"] not in tree["models"]:
                    below.add(Text(f"also of {one['parent']}{_share(one)}, of another tree", style="dim"))
    return drawing


_Child = tuple[str, "Mapping[str, Any] | None"]  # its name, and the edge to it; None: of a parent without a name


def _children(tree: Mapping[str, Any], unnamed: Iterable[Mapping[str, Any]]) -> dict[str, list[_Child]]:
    """What stands below each node; siblings whose parent has no name stand below that, not below one another."""
    found: dict[str, list[_Child]] = {}
    apart: set[tuple[str, str]] = set()
    for node in unnamed:
        names = [child["model"] for child in node["children"]]
        if node["below"] is not None:
            found.setdefault(node["below"], []).append((node["node"], None))
            apart.update((node["below"], name) for name in names)
        found.setdefault(node["node"], []).extend((name, None) for name in names)
        apart.update((one, other) for one in names for other in names)
    for edge in tree["edges"]:
        copy = edge["relation"] == "duplicate"
        if edge["parent"] in tree["models"] and (copy or (edge["parent"], edge["child"]) not in apart):
            found.setdefault(edge["parent"], []).append((edge["child"], edge))
    return found


def _top(tree: Mapping[str, Any], unnamed: Iterable[Mapping[str, Any]]) -> str:
    """The node that a drawing begins with: the root, or the parent without a name that stands above it."""
    root = str(tree["root"] or (tree["models"][0] if tree["models"] else "?"))
    above = (node["node"] for node in unnamed if any(child["model"] == root for child in node["children"]))
    return next(above, root)


def _title(name: str, unnamed: Mapping[str, Mapping[str, Any]]) -> Text:
    if name not in unnamed:
        return Text(name, style="bold")
    return Text(f"{name}  {missing_words(unnamed[name])}", style="magenta")


def missing_words(node: Mapping[str, Any]) -> str:
    """What is known of a parent that is not in the catalogue."""
    children = len(node["children"])
    maybe = [
        f"{one['name']} ({one['state']}, declared by {len(one['named_by'])} of {children})"
        for one in node["candidates"][:_CANDIDATES]
    ]
    known = f"a parent that is not in the catalogue, shown by {children} siblings"
    return f"{known}; maybe {' or '.join(maybe)}" if maybe else f"{known}; none of them declares what it may be"


_CANDIDATES = 3


def _far_label(child: str, node: Mapping[str, Any]) -> Text:
    distance = next(one["distance"] for one in node["children"] if one["model"] == child)
    label = Text(child)
    label.append("" if distance is None else f"  distance {distance:.4g}", style="dim")
    label.append("  inferred", style="blue")
    return label


def _share(edge: Mapping[str, Any]) -> str:
    weight = edge["evidence"].get("weight")
    return "" if weight is None else f" {weight:.0%}"


_CONTRADICTED = {"ancestor", "contradicted", "reversed", "sibling"}


def _edge_label(edge: Mapping[str, Any], verdict: Mapping[str, Any]) -> Text:
    if edge["parent"].lower() in {name.lower() for name in verdict["declared"]}:
        mark, style = "both", "green"
    elif verdict["verdict"] in _CONTRADICTED:
        mark, style = "contradicted", "red"
    else:
        mark, style = "inferred", "blue"
    label = Text(edge["child"])
    label.append(f"  {edge['relation']}{_share(edge)}", style="dim")
    label.append(f" {edge['confidence']:.2f}{'' if edge['decided'] else ' undecided'}", style="dim")
    label.append(f"  {mark}", style=style)
    return label


def _add_declared(branch: Tree, model: str, declared: Mapping[str, list[str]], parents: Iterable[str]) -> None:
    inferred = {parent.lower() for parent in parents}
    for name in declared.get(model, []):
        if name.lower() not in inferred:
            branch.add(Text(f"declares {name}  declared", style="yellow"))


def verdict_table(verdicts: Iterable[Mapping[str, Any]], *, reasons: bool = False) -> Table:
    """Declared against inferred, a row per model; with the reasons, where these are asked for."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "declared", "inferred", "verdict", *(["why"] if reasons else [])):
        table.add_column(column, overflow="fold")
    for row in verdicts:
        style = _STYLES.get(row["verdict"], "")
        table.add_row(
            row["model"],
            "\n".join(row["declared"]) or "-",
            "\n".join(row["inferred"]) or "-",
            Text(row["verdict"], style=style),
            *([row["why"]] if reasons else []),
        )
    return table


def verdict_counts(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """How many of each verdict, most frequent first."""
    counts = Counter(row["verdict"] for row in verdicts)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def print_result(console: Console, result: Mapping[str, Any]) -> None:
    """The whole result of a run: trees by family, duplicates, declared against inferred, failures."""
    by_model = {row["model"]: row for row in result["verdicts"]}
    for family in result["families"]:
        console.print(Text(f"\nfamily {family['family']}: {len(family['models'])} models", style="bold underline"))
        for note in family["notes"]:
            console.print(f"  {note}", highlight=False, markup=False)
        for tree in family["trees"]:
            console.print(drawn_tree(tree, by_model))
    if result["duplicates"]:
        console.print(Text("\nduplicates", style="bold underline"))
        for group in result["duplicates"]:
            console.print("  " + " = ".join(group), highlight=False, markup=False)
    if result["verdicts"]:
        console.print(Text("\ndeclared against inferred", style="bold underline"))
        console.print(verdict_table(result["verdicts"]))
        console.print(verdict_counts(result["verdicts"]), highlight=False)
    if result["failures"]:
        console.print(Text("\ncould not be used", style="bold underline"))
        print_failures(console, result["failures"])


def print_failures(console: Console, failures: Iterable[Mapping[str, Any]]) -> None:
    """One line per failure: model, file, tensor, reason."""
    for row in failures:
        place = " ".join(part for part in (row["model"], row["file"], row["tensor"]) if part)
        console.print(f"  {place}: {row['reason']}", highlight=False, markup=False)


def print_status(console: Console, status: Mapping[str, Any]) -> None:
    """Counts, what is pending, and failures by reason, per source."""
    for source in status["sources"]:
        console.print(Text(source["source"], style="bold underline"))
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in source["counts"].items():
            table.add_row(name.replace("_", " "), str(value))
        console.print(table)
        if source["pending"]:
            pending = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in source["pending"].items())
            console.print(f"pending: {pending}", highlight=False)
        for crawl in source["crawls"]:
            console.print(_crawl_line(crawl), highlight=False, markup=False)
        for kind, count in source["declared_problems"].items():
            console.print(f"  {count} models with a declared {kind}", highlight=False, markup=False)
        for kind, count in source["failures_by_reason"].items():
            console.print(f"  {count} x {kind}", highlight=False, markup=False)
        print_failures(console, source["failures"])
    for quota in status["quotas"]:
        console.print(_quota_line(quota), highlight=False, markup=False)
    _print_queue(console, status["queue"])
    if not status["sources"]:
        console.print(
            "The catalogue is empty: start with `hublineage run --folder DIR` or `hublineage run --author ORG`."
        )


def _print_queue(console: Console, queue: Mapping[str, Any]) -> None:
    if queue["jobs"]:
        counts = ", ".join(f"{count} {state}" for state, count in queue["jobs"].items())
        console.print(f"queue: {counts}", highlight=False)
    for one in queue["given_up"]:
        line = f"  job {one['id']} {one['state']}: {one['task']} {one['what']}: {one['reason']}"
        console.print(line, highlight=False, markup=False)


def _crawl_line(crawl: Mapping[str, Any]) -> str:
    asked = ", ".join(f"{name} {value}" for name, value in crawl["query"].items()) or "everything"
    state = f"until {crawl['finished']}" if crawl["finished"] else "not finished: the same command goes on with it"
    described = "" if crawl["described"] or not crawl["finished"] else ", not yet described"
    return (
        f"{crawl['kind']} crawl of {asked}: {crawl['listed']} on {crawl['pages']} pages, "
        f"{crawl['started']} {state}{described}"
    )


def _quota_line(quota: Mapping[str, Any]) -> str:
    if quota["quota"] is None:
        return (
            f"{quota['endpoint']} {quota['bucket']} ({quota['account']}): no quota told; {quota['used']} requests used"
        )
    known = "by its headers" if quota["learnt"] else "as documented, not learnt yet"
    waits = f", blocked for {quota['blocked_s']:.0f} s" if quota["blocked_s"] else ""
    return (
        f"{quota['endpoint']} {quota['bucket']} ({quota['account']}): {quota['used']} of {quota['allowed']} requests "
        f"used, a share of {quota['share']:g} of {quota['quota']} {known}; anew in {quota['resets_s']:.0f} s{waits}"
    )


def print_model(console: Console, model: Mapping[str, Any]) -> None:
    """All that is known of one model."""
    console.print(Text(model["model"], style="bold underline"))
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in model["facts"].items():
        if value not in (None, [], ""):
            facts.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    console.print(facts)
    for title, key in (("declared parents", "declared"), ("inferred parents", "parents"), ("children", "children")):
        if model[key]:
            console.print(Text(title, style="bold"))
        for row in model[key]:
            console.print("  " + _one_line(row), highlight=False, markup=False)
            for name, value in row.get("evidence", {}).items():
                console.print(f"      {name:<26} {value:.4g}", highlight=False, markup=False)
    absent = [f"its parent: {missing_words(node)}" for node in model["missing"]]
    for problem in [*absent, *model["declared_problems"]]:
        console.print(problem, highlight=False, markup=False)
    if model["duplicates"]:
        console.print("the same weights: " + ", ".join(model["duplicates"]), highlight=False, markup=False)
    judged = model["verdict"] or {"verdict": "no verdict", "why": model["no_verdict"]}
    console.print(f"{judged['verdict']}: {judged['why']}", highlight=False, markup=False)
    print_failures(console, model["failures"])


def _one_line(row: Mapping[str, Any]) -> str:
    if "confidence" in row:
        sure = f"confidence {row['confidence']:.2f}" + ("" if row["decided"] else ", undecided")
        return f"{row['model']}  ({row['relation']}, {sure})"
    stands_for = f", {row['model']}" if row["model"] not in (None, row["name"]) else ""
    found = f", {row['resolution']}" if row["resolution"] not in (None, "exact") else ""
    share = f", weight {row['weight']:g}" if row["weight"] is not None else ""
    layers = ", layers " + ", ".join(f"{first} to {last - 1}" for first, last in row["layers"]) if row["layers"] else ""
    return f"{row['name']}  ({row['relation']}, in {row['source']}, {row['kind']}{found}{stands_for}{share}{layers})"
