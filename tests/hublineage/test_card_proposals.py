"""Which cards should change, and what becomes of the folder of proposals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.errors import UsageError
from hublineage.card_folder import write
from hublineage.card_header import HeaderUnreadable
from hublineage.card_proposals import Disagreement, Left, Parent, Proposal, proposal

BASE = Parent("o/base", "finetune", 0.9, decided=True)
CARD = "---\nlicense: mit\nbase_model: o/wrong\n---\n# Title\n"


def disagreement(verdict: str, *parents: Parent, original: str | None = None) -> Disagreement:
    return Disagreement("o/model", verdict, "why", parents, original)


def proposed(verdict: str, *parents: Parent, original: str | None = None) -> Proposal:
    found = proposal(disagreement(verdict, *parents, original=original))
    assert isinstance(found, Proposal)
    return found


@pytest.mark.parametrize("verdict", ["agrees", "root", "undecided", "unmeasured"])
def test_cards_that_say_nothing_wrong_are_left_alone(verdict: str) -> None:
    assert proposal(disagreement(verdict, BASE)) is None


@pytest.mark.parametrize("verdict", ["ancestor", "reversed", "sibling", "contradicted", "undeclared"])
def test_a_decided_parent_is_proposed(verdict: str) -> None:
    found = proposed(verdict, BASE)
    assert (found.parents, found.relation, found.confidence) == (("o/base",), "finetune", 0.9)


@pytest.mark.parametrize(
    ("inferred", "said"),
    [("finetune", "finetune"), ("lora", "finetune"), ("pruned", "finetune"), ("cast", "quantized")],
)
def test_relations_are_the_hubs(inferred: str, said: str) -> None:
    assert proposed("ancestor", Parent("o/base", inferred, 0.9, decided=True)).relation == said


def test_a_merge_names_all_of_its_parents_and_the_least_confidence() -> None:
    other = Parent("o/another", "merge", 0.7, decided=True)
    found = proposed("undeclared", Parent("o/base", "merge", 0.9, decided=True), other)
    assert (found.parents, found.relation, found.confidence) == (("o/another", "o/base"), "merge", 0.7)


def test_what_is_not_decided_is_never_proposed() -> None:
    vague = Parent("o/vague", "merge", 0.4, decided=False)
    for parents in ([vague], [BASE, vague]):
        found = proposal(disagreement("contradicted", *parents))
        assert isinstance(found, Left)
        assert found.reason == "not decided: o/vague"
    assert isinstance(proposal(disagreement("contradicted")), Left)


def test_a_parent_that_nothing_was_compared_with_is_not_taken_off_a_card() -> None:
    found = proposal(Disagreement("o/model", "sibling", "why", [BASE], unchecked=["o/gated"]))
    assert isinstance(found, Left)
    assert found.reason == "not compared, so that it may be right as well: o/gated"


def test_a_copy_is_proposed_as_one_of_its_original_only_where_dates_tell_them_apart() -> None:
    found = proposed("duplicate", BASE, original="o/first")
    assert (found.parents, found.relation) == (("o/first",), "finetune")
    assert "no relation for a copy" in found.notes[0]
    assert isinstance(proposal(disagreement("duplicate", BASE)), Left)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_proposals_are_written_with_their_reasons_and_twice_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = [proposed("ancestor", BASE), Left("o/other", "sibling", "why", "not decided: o/x")]
    write(out, found, {"o/model": CARD})
    assert (out / "o/model/README.md").read_text() == (
        "---\nlicense: mit\nbase_model: o/base\nbase_model_relation: finetune\n---\n# Title\n"
    )
    index = json.loads((out / "index.json").read_text())
    assert (index["sent"], index["cards"][0]["why"], index["left"][0]["reason"]) == (
        "nothing",
        "why",
        "not decided: o/x",
    )
    assert "Nothing was sent" in (out / "index.md").read_text()
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write(out, found, {"o/model": CARD}).kept == []
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_what_is_no_longer_proposed_goes_and_what_was_edited_stays(tmp_path: Path) -> None:
    write(tmp_path / "out", [proposed("ancestor", BASE)], {"o/model": CARD})
    card = tmp_path / "out/o/model/README.md"
    card.write_text("mine")
    assert write(tmp_path / "out", [proposed("ancestor", BASE)], {"o/model": CARD}).kept == ["o/model/README.md"]
    assert write(tmp_path / "out", [], {}).kept == ["o/model/README.md"]
    assert write(tmp_path / "out", [], {}).kept == ["o/model/README.md"]
    assert card.read_text() == "mine"
    other = tmp_path / "other"
    write(other, [proposed("ancestor", BASE)], {"o/model": CARD})
    assert write(other, [], {}).removed == ["o/model/README.md"]
    assert set(contents(other)) == {"index.json", "index.md"}


def test_the_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for index in (None, "{}", "no json", '{"made_by": "somebody", "cards": []}'):
        if index is not None:
            (tmp_path / "index.json").write_text(index)
        before = contents(tmp_path)
        with pytest.raises(UsageError, match="not ours"):
            write(tmp_path, [proposed("ancestor", BASE)], {"o/model": CARD})
        assert contents(tmp_path) == before
    with pytest.raises(UsageError, match="a file"):
        write(tmp_path / "notes.txt", [], {})


def test_a_file_of_others_in_our_folder_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path, [], {})
    (tmp_path / "o/model").mkdir(parents=True)
    (tmp_path / "o/model/README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"o/model/README\.md is not ours"):
        write(tmp_path, [proposed("ancestor", BASE)], {"o/model": CARD})
    assert (tmp_path / "o/model/README.md").read_text() == "mine"


def test_a_card_that_cannot_be_had_or_a_name_that_leads_out_is_left_with_the_lines_to_put_in(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, card in (("o/model", HeaderUnreadable("it is gone")), ("../../etc", CARD), ("o/..", CARD)):
        one = Proposal(name, ("o/base",), "finetune", 0.9, "ancestor", "why")
        (left,) = write(out, [one], {name: card}).left
        assert "by hand: 'base_model: o/base" in left["reason"]
    assert set(contents(tmp_path)) == {"out/index.json", "out/index.md"}
