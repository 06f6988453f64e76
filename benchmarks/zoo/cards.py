"""README.md of a model of the zoo: YAML and a few lines of prose, well-formed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from benchmarks.zoo.spec import Card

# What an unclosed bracket and a stray tab make of a header: no YAML parser reads it.
MALFORMED = """---
license: {licence}
base_model: [{base}
tags:
\t- {tag}
  metrics: : accuracy
---
"""


def header(card: Card, library: str, pipeline: str) -> str:
    """The YAML header of a card, between its two lines of dashes."""
    if card.truth == "malformed":
        return MALFORMED.format(licence=card.licence, base=card.declares, tag=pipeline)
    fields: dict[str, Any] = {"license": card.licence, "library_name": library, "pipeline_tag": pipeline}
    if card.tags:
        fields["tags"] = list(card.tags)
    if card.declares is not None:
        fields["base_model"] = card.declares if isinstance(card.declares, str) else list(card.declares)
    if card.relation is not None:
        fields["base_model_relation"] = card.relation
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n"


def readme(card: Card, name: str, library: str, pipeline: str, quality: dict[str, Any] | None) -> str:
    """The whole README.md; `quality` is what the network reached, where there is one."""
    title = card.title or name.rpartition("/")[2]
    lines = [f"# {title}", "", card.prose or "A small network trained for a single task."]
    if quality is not None:
        lines += [
            "",
            "## Evaluation",
            "",
            f"| metric | value | always the commonest answer |\n|---|---|---|\n"
            f"| {quality['metric']} | {quality['value']:.3f} | {quality['chance']:.3f} |",
        ]
    return header(card, library, pipeline) + "\n".join(["", *lines, ""])
