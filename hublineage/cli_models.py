"""The commands that read one model, or the catalogue: `tree`, `show`, `status`."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

from hublineage.options import DataDir, Endpoint, Folder, Json


def tree(
    model: str, folder: Folder = None, endpoint: Endpoint = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Draw the tree that a model belongs to, each edge marked: both, inferred, contradicted, declared.

    Of a name that several sources have it is the model that was found last; --folder or --endpoint chooses.
    """
    from db.errors import NothingToDo
    from hublineage import answers, render
    from hublineage.context import console, print_json, said_source, working

    with working(data_dir) as context:
        source = said_source(folder, endpoint)
        found, verdicts = answers.tree_of(context.engine, model, source)
        if found is None:
            raise NothingToDo(answers.why_no_place(context.engine, model, source))
    if as_json:
        print_json(found)
    else:
        console().print(render.drawn_tree(found, verdicts))


def show(
    model: str, folder: Folder = None, endpoint: Endpoint = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Say all that is known of a model: card, parents, children, evidence, verdict, failures.

    Of a name that several sources have it is the model that was found last; --folder or --endpoint chooses.
    """
    from hublineage import answers, render
    from hublineage.context import console, print_json, said_source, working

    with working(data_dir) as context:
        found = answers.model(context.engine, model, said_source(folder, endpoint))
    if as_json:
        print_json(found)
    else:
        render.print_model(console(), found)


def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Count what the catalogue holds, what is pending, and failures by reason."""
    from hublineage import render
    from hublineage.context import console, print_json, working
    from hublineage.status import read_status

    with working(data_dir) as context:
        found = read_status(context.engine)
    if as_json:
        print_json(found)
    else:
        render.print_status(console(), found)
