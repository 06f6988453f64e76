"""The command `hublineage relation A B`: what the detector says of two models."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: torch takes seconds, and help needs none

from __future__ import annotations

from typing import Annotated

import typer

from hublineage.options import DataDir, Json

Alone = Annotated[
    bool, typer.Option("--alone", help="Judge the two by themselves: no other member of the family is evidence.")
]


def relation(a: str, b: str, alone: Alone = False, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Say how likely A is the parent of B, its child, its sibling, unrelated, ... by the learned detector.

    Both must have been measured (hublineage run, or crawl and measure). Asked the other way round, the same
    probabilities come with their names exchanged.

    hublineage relation google/vit-base-patch16-224-in21k google/vit-base-patch16-224

    hublineage relation org/a org/b --alone --json
    """
    from hublineage.context import console, print_json, working
    from hublineage.relation_answer import relation_of

    with working(data_dir) as context:
        found = relation_of(context.engine, a, b, apart=alone)
    if as_json:
        print_json(found)
        return
    screen = console()
    first, second = found["models"]
    screen.print(f"{first} is, to {second}:", highlight=False, markup=False)
    for name, probability in sorted(found["probabilities"].items(), key=lambda item: -item[1]):
        screen.print(f"  {probability:6.3f}  {name}", highlight=False, markup=False)
    for note in found["notes"]:
        screen.print(note, highlight=False, markup=False)
