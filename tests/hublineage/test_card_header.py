"""Cards with other parents: what changes, and that nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from crawler.cards import parse_card
from hublineage.card_header import HeaderUnreadable, lines, with_parents

ONE, TWO = ["org/parent"], ["org/parent", "org/other"]
ADDED = "base_model: org/parent\nbase_model_relation: finetune\n"


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("# Title\n", f"---\n{ADDED}---\n\n# Title\n"),
        ("", f"---\n{ADDED}---\n"),
        ("---\nlicense: mit  # ours\n---\ntext", f"---\nlicense: mit  # ours\n{ADDED}---\ntext"),
        ("---\nbase_model: a/b  # the base\ntags:\n- x\n---\n", f"---\n{ADDED}tags:\n- x\n---\n"),
        ("---\nbase_model:\n- a/b\n- c/d\n\n# tags\ntags: [x]\n---\n", f"---\n{ADDED}\n# tags\ntags: [x]\n---\n"),
        ("---\r\na: 1\r\nbase_model: [a/b,\r\n  c/d]\r\n---\r\n", None),
        ("---\nbase_model_relation: merge\nlang: no\n---\n", f"---\n{ADDED}lang: no\n---\n"),
        ("---\nbase_model:\nx: 1\n---\n", f"---\n{ADDED}x: 1\n---\n"),
        ("---\n---\ntext", f"---\n{ADDED}---\ntext"),
    ],
)
def test_the_keys_are_put_where_they_stand_and_all_else_stays(card: str, expected: str | None) -> None:
    changed = with_parents(card, ONE, "finetune")
    assert not changed.rewritten
    if expected is not None:
        assert changed.text.replace("  # the base", "") == expected
    assert ("\r\n" in changed.text) == ("\r\n" in card)
    assert changed.text.count("\r\n") in (0, changed.text.count("\n"))
    assert with_parents(changed.text, ONE, "finetune").text == changed.text


def test_comments_behind_what_changes_stay_too() -> None:
    card = "---\nbase_model: a/b  # see the paper\nbase_model_relation: adapter # or not\n---\n"
    text = with_parents(card, TWO, "merge").text
    assert "base_model:  # see the paper\n- org/parent\n- org/other\nbase_model_relation: merge  # or not\n" in text


@pytest.mark.parametrize(
    "card",
    ["---\n{license: mit, base_model: x}\n---\n", "---\nbase_model: &a x/y\nother: *a\n---\n# text\n"],
)
def test_a_header_that_cannot_be_edited_is_written_anew_in_its_order(card: str) -> None:
    changed = with_parents(card, TWO, "merge")
    assert changed.rewritten
    before, after = (parse_card(text.encode()).data or {} for text in (card, changed.text))
    assert list(after) == [*before, "base_model_relation"]
    assert after == {**before, "base_model": TWO, "base_model_relation": "merge"}


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlicense: mit\n", "no closing"),
        ("---\n- a\n---\n", "no mapping"),
        ("---\nbase_model: [a\nx: y: z\n---\n", "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_read_is_not_guessed(card: str, said: str) -> None:
    with pytest.raises(HeaderUnreadable, match=said):
        with_parents(card, ONE, "finetune")


def test_the_same_card_is_left_as_it_is_down_to_its_quotes() -> None:
    card = "---\nbase_model:   'org/parent'\nbase_model_relation: \"finetune\"\n---\n"
    assert with_parents(card, ONE, "finetune").text == card


def test_the_hubs_own_library_reads_what_was_written() -> None:
    card = "---\nlanguage:\n- en\nlicense: mit\nbase_model: a/b\ntags: [x, y]\nwidget:\n- text: 'a: b'\n---\n# Title\n"
    data = ModelCard(with_parents(card, TWO, "merge").text).data.to_dict()
    assert data.pop("base_model") == TWO
    assert data.pop("base_model_relation") == "merge"
    assert data == {key: value for key, value in ModelCard(card).data.to_dict().items() if key != "base_model"}
    assert ModelCard(with_parents(card, ONE, "finetune").text).content.endswith("# Title\n")


def test_names_that_yaml_would_read_as_something_else_are_quoted() -> None:
    for name in ("null", "1e5", "1234/5678", "a/b: c"):
        assert yaml.safe_load(lines([name], "finetune"))["base_model"] == name


_PLAIN: Any = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
)
_HEADERS = st.dictionaries(
    st.sampled_from(["license", "tags", "base_model", "base_model_relation", "model-index", "x y"]),
    st.recursive(_PLAIN, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text("ab"), some, max_size=2)),
)


@given(_HEADERS, st.sampled_from([ONE, TWO]), st.booleans())
def test_everything_else_of_any_header_survives(header: dict[str, Any], parents: list[str], flow: bool) -> None:
    card = f"---\n{yaml.safe_dump(header, sort_keys=False, default_flow_style=flow)}---\n\n# Text\n---\nmore\n"
    text = with_parents(card, parents, "finetune").text
    value = parents if len(parents) > 1 else parents[0]
    read = yaml.safe_load(text.split("---\n")[1])
    assert read in (
        {**header, "base_model": value, "base_model_relation": "finetune"},
        {**header, "base_model": parents, "base_model_relation": "finetune"},
    )
    assert text.endswith("---\n\n# Text\n---\nmore\n")
    assert with_parents(text, parents, "finetune").text == text
