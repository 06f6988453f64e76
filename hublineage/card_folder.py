"""A folder of proposed cards for review. Nothing in it is ever sent anywhere.

    DIR/index.json           every proposal with its reason, and the disagreements that have none
    DIR/index.md             the same for reading
    DIR/org/name/README.md   the whole card with its new header

What the index lists is ours; everything else in the folder belongs to somebody else. A card that was edited after it
was written stays as it is, and so does everything where the folder holds files of others that we would have to replace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.errors import UsageError
from hublineage.card_header import HeaderUnreadable, lines, with_parents
from hublineage.card_proposals import Left, Proposal

MADE_BY = "hublineage compare --fix-cards"
INDEX, READABLE = "index.json", "index.md"


@dataclass
class Written:
    """What became of the proposals."""

    cards: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # edited since they were written
    removed: list[str] = field(default_factory=list)  # no longer proposed


def check(folder: Path) -> dict[str, str]:
    """The cards that an earlier call wrote there, with their hashes. Raises UsageError for somebody else's folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--fix-cards {folder}: that is a file")
    index = folder / INDEX
    if not index.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"--fix-cards {folder}: it holds files that are not ours; name an empty or a new folder")
        return {}
    try:
        content = json.loads(index.read_text())
        if content["made_by"] != MADE_BY:
            raise KeyError(MADE_BY)  # noqa: TRY301  # another program's index is as good as none
        return {row["file"]: row["sha256"] for row in content["cards"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--fix-cards {folder}: its {INDEX} is not ours; name an empty or a new folder") from error


def write(folder: Path, found: Sequence[Proposal | Left], cards: Mapping[str, str | HeaderUnreadable]) -> Written:
    """Write the proposals, and take back those of an earlier call that are no longer made.

    `cards` are the texts of the cards as they are now, "" where a model has none; or why one cannot be had. Twice
    changes nothing. Raises UsageError before anything is written, where somebody else's file is in the way.
    """
    before = check(folder)
    done = Written()
    texts: dict[str, str] = {}
    for one in found:
        if isinstance(one, Left):
            done.left.append({"model": one.model, "verdict": one.verdict, "why": one.why, "reason": one.reason})
        else:
            _propose(one, cards[one.model], done, texts)
    foreign = [file for file in texts if file not in before and (folder / file).exists()]
    if foreign:
        raise UsageError(f"--fix-cards {folder}: {foreign[0]} is not ours; name an empty or a new folder")
    for file, digest in before.items():
        there = _digest(folder / file)
        if there is not None and there != digest:
            done.kept.append(file)
        elif file not in texts:
            (folder / file).unlink(missing_ok=True)
            done.removed.append(file)
    for file, text in texts.items():
        if file not in done.kept:
            _put(folder / file, text)
    rows = [{**row, "sha256": before[row["file"]] if row["file"] in done.kept else row["sha256"]} for row in done.cards]
    # An edited card that is no longer proposed stays listed: else a later call would take it for somebody else's.
    listed = {row["file"] for row in rows}
    rows += [
        {"model": str(Path(file).parent), "file": file, "sha256": before[file], "withdrawn": True}
        for file in done.kept
        if file not in listed
    ]
    index = {"made_by": MADE_BY, "sent": "nothing", "cards": rows, "left": done.left}
    _put(folder / INDEX, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    _put(folder / READABLE, _readable(rows, done.left))
    return done


def _propose(one: Proposal, card: str | HeaderUnreadable, done: Written, texts: dict[str, str]) -> None:
    """Add one proposal, with its new text, or the reason why there is none."""
    try:
        if isinstance(card, HeaderUnreadable):
            raise card
        if not _is_path(one.model):
            raise HeaderUnreadable("its name is no path below this folder")  # noqa: TRY301  # told as what cannot be read
        changed = with_parents(card, one.parents, one.relation)
    except HeaderUnreadable as error:
        reason = f"{error}; by hand: {lines(one.parents, one.relation).strip()!r}"
        done.left.append({"model": one.model, "verdict": one.verdict, "why": one.why, "reason": reason})
        return
    if changed.text == card:
        return  # it says so already: a copy of a model stays one, whatever its card says
    notes = [*one.notes, *(["the header was written anew, without its comments"] if changed.rewritten else [])]
    file = f"{one.model}/README.md"
    texts[file] = changed.text
    done.cards.append(
        {
            "model": one.model,
            "file": file,
            "base_model": list(one.parents),
            "base_model_relation": one.relation,
            "confidence": round(one.confidence, 4),
            "verdict": one.verdict,
            "why": one.why,
            "notes": notes,
            "sha256": hashlib.sha256(changed.text.encode()).hexdigest(),
        }
    )


def _is_path(model: str) -> bool:
    """Whether a name leads to a place of its own below the folder."""
    parts = model.split("/")
    return all(part not in ("", ".", "..") and "\\" not in part for part in parts) and model not in (INDEX, READABLE)


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _put(file: Path, text: str) -> None:
    """Write a file, whole or not at all; one that says the same already is left alone."""
    content = text.encode()
    if file.is_file() and file.read_bytes() == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.part")
    half.write_bytes(content)
    half.replace(file)


def _readable(cards: Sequence[Mapping[str, Any]], left: Sequence[Mapping[str, Any]]) -> str:
    text = ["# Proposed cards", "", "For review. Nothing was sent anywhere.", ""]
    for row in cards:
        if row.get("withdrawn"):
            text += [f"## {row['model']}", "", "No longer proposed; the file was edited and stays.", ""]
            continue
        parents = ", ".join(f"`{name}`" for name in row["base_model"])
        sure = f"confidence {row['confidence']:.2f}"
        text += [f"## [{row['model']}]({row['file']})", "", f"{row['base_model_relation']} of {parents} ({sure})", ""]
        text += [
            f"{row['verdict']}: {row['why']}",
            "",
            *(f"- {note}" for note in row["notes"]),
            *([""] * bool(row["notes"])),
        ]
    if left:
        text += ["# Disagreements without a proposal", ""]
        text += [f"- {row['model']} ({row['verdict']}): {row['why']}. {row['reason']}" for row in left]
    return "\n".join(text).rstrip() + "\n"
