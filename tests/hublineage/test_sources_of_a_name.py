"""A name that two sources have: which model is meant, and how to mean the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command
from small_models import write_lineage

from db.engine import connect
from db.errors import UsageError
from hublineage.answers import find_model


def test_a_name_is_found_whatever_its_source_and_the_source_can_be_chosen(command: Command, tmp_path: Path) -> None:
    old, new = write_lineage(tmp_path / "old"), write_lineage(tmp_path / "new")
    (old / "oak/left/README.md").write_text("---\nlicense: mit\nbase_model: elm/root\n---\n")
    for folder in (old, new):
        assert command("run", "--folder", folder, "--weights-only").code == 0
    engine = connect(command.url)
    try:
        names = dict(command.rows("SELECT id, name FROM sources"))
        assert [names[find_model(engine, "OAK/Left", source)[0]] for source in (None, *names.values())] == [
            new.as_uri(),
            *names.values(),
        ]
        command.execute("UPDATE repositories SET removed_at = now(), removed_why = 'gone' WHERE source_id = 2")
        assert names[find_model(engine, "oak/left")[0]] == old.as_uri()  # what is there goes before what is gone
        command.execute("UPDATE repositories SET removed_at = NULL, removed_why = NULL")
        with pytest.raises(UsageError, match="was not crawled yet"):
            find_model(engine, "oak/left", "https://elsewhere")
        with pytest.raises(UsageError, match="did you mean oak/left"):
            find_model(engine, "oak/lefd", old.as_uri())
    finally:
        engine.dispose()
    assert command("compare", "oak/left", "--json").json["verdict"] == "agrees"
    assert command("compare", "oak/left", "--folder", old, "--json").json["verdict"] == "contradicted"
    assert command("show", "oak/left", "--json").json["facts"]["licence"] is None
    assert command("show", "oak/left", "--folder", old, "--json").json["facts"]["licence"] == "mit"
    assert command("licences", "oak/left", "--folder", old, "--json").json["licence"]["declared"] == ["mit"]
    assert command("tree", "oak/left", "--folder", old, "--json").json["root"] == "oak/root"
    assert "declares elm/root" in command("tree", "oak/left", "--folder", old).out
    assert "declares elm/root" not in command("tree", "oak/left").out
    assert command("export", "--format", "prov", "--model", "oak/left", "--folder", old).code == 0
