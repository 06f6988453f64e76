"""Declared parents from every source that names one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cards import Card
from crawler.declared import RELATIONS, SOURCES, Declared, declared_parents, parent_name


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("org/name", ("org/name", "hub")),
        ("  'org/name' ", ("org/name", "hub")),
        ("bert-base-uncased", ("bert-base-uncased", "hub")),
        ("https://huggingface.co/org/name", ("org/name", "hub")),
        ("http://www.huggingface.co/org/name/tree/main/sub?x=1#y", ("org/name", "hub")),
        ("https://hf.co/bert-base-uncased/blob/main/config.json", ("bert-base-uncased", "hub")),
        ("huggingface.co/org/name/", ("org/name", "hub")),
        ("hf://org/name@main", ("org/name", "hub")),
        ("https://huggingface.co/datasets/org/name", ("https://huggingface.co/datasets/org/name", "invalid")),
        ("https://huggingface.co/", ("https://huggingface.co/", "invalid")),
        ("https://github.com/org/name", ("https://github.com/org/name", "invalid")),
        ("Some Model 82M", ("Some Model 82M", "invalid")),
        ("./out", ("./out", "local path")),
        ("../models/x", ("../models/x", "local path")),
        ("/home/me/model", ("/home/me/model", "local path")),
        ("~/model", ("~/model", "local path")),
        ("C:\\models\\x", ("C:\\models\\x", "local path")),
        ("out\\final", ("out\\final", "local path")),
        ("runs/a/b", ("runs/a/b", "local path")),
        ("checkpoint-500", ("checkpoint-500", "local path")),
        ("model.safetensors", ("model.safetensors", "local path")),
        (12, ("12", "invalid")),
        ({"a": 1}, ("{'a': 1}", "invalid")),
        ("", None),
        ("None", None),
        (None, None),
        (False, None),
        ([], None),
    ],
)
def test_a_parents_name_is_told_from_paths_and_nonsense(raw: Any, expected: tuple[str, str] | None) -> None:
    assert parent_name(raw) == expected


def card(body: str = "", **data: Any) -> Card:
    return Card(data, None, body)


def one(*args: Any, **kwargs: Any) -> tuple[str, str, str, str]:
    (declared,) = declared_parents(*args, **kwargs)
    return declared.name, declared.relation, declared.source, declared.kind


def test_the_cards_relation_overrides_what_is_inferred() -> None:
    assert one(card(base_model="o/p")) == ("o/p", "finetune", "card", "hub")
    assert one(card(base_model="o/p", base_model_relation="quantized")) == ("o/p", "quantized", "card", "hub")
    assert one(card(base_model="o/p", base_model_relation="distill")) == ("o/p", "unknown", "card", "hub")
    assert one(card(base_model="o/p", library_name="peft")) == ("o/p", "adapter", "card", "hub")
    assert one(card(base_model="o/p", tags="gguf")) == ("o/p", "quantized", "card", "hub")
    assert one(card(base_model=["o/p"], tags=[None, 3, "mergekit"])) == ("o/p", "merge", "card", "hub")


def test_several_parents_are_a_merge_in_the_cards_order() -> None:
    found = declared_parents(card(base_model=["o/b", "o/a", "o/b"]))
    assert [(parent.name, parent.relation) for parent in found] == [("o/b", "merge"), ("o/a", "merge")]


def test_base_models_are_a_dict_whatever_the_hint_says() -> None:
    raw = {"relation": "adapter", "models": [{"_id": "1", "id": "o/p"}]}
    assert one(None, base_models=raw) == ("o/p", "adapter", "baseModels", "hub")
    assert one(None, base_models=[raw]) == ("o/p", "adapter", "baseModels", "hub")


def test_a_tag_with_its_relation_replaces_the_bare_one() -> None:
    tags = ["base_model:o/p", "base_model:quantized:o/p", "base_model:adapter:/home/x/y", "base_model:o/q", "pytorch"]
    assert declared_parents(None, tags=tags) == (
        Declared("o/p", "quantized", "tags", "hub"),
        Declared("/home/x/y", "adapter", "tags", "local path"),
        Declared("o/q", "unknown", "tags", "hub"),
    )


def test_an_adapters_config_names_its_base() -> None:
    assert one(None, adapter_config={"base_model_name_or_path": "./x"}) == (
        "./x",
        "adapter",
        "adapter_config",
        "local path",
    )


def test_a_commits_title_tells_a_duplicate() -> None:
    assert one(None, commit_title="Duplicate from o/p") == ("o/p", "duplicate", "commit", "hub")
    assert declared_parents(None, commit_title="Remove a duplicate from the list") == ()


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "This model is a fine-tuned version of [x](https://huggingface.co/o/p) on the None dataset.",
            ("o/p", "finetune"),
        ),
        ("is a fine-tuned\nversion of [o/p](https://example.org/x)", ("o/p", "finetune")),
        ("Fine-tuned [o/p](https://huggingface.co/o/p) on galician", ("o/p", "finetune")),
        ("finetuned on top of feature extractor [V](https://huggingface.co/o/p)", ("o/p", "finetune")),
        ("a pre-trained [GPT-2](https://huggingface.co/gpt2) which is fine-tuned on tweets", ("gpt2", "finetune")),
        ("a quantised version of `o/p`", ("o/p", "quantized")),
        ("LoRA adapter for the [o/p](https://huggingface.co/o/p)", ("o/p", "adapter")),
        ("a fine-tuned version of [](https://huggingface.co/) on the None dataset", None),
        ("fine-tuned on the [glue](https://huggingface.co/datasets/glue) dataset", None),
        ("See [o/p](https://huggingface.co/o/p) for more.", None),
    ],
)
def test_prose_names_a_parent_weakly(sentence: str, expected: tuple[str, str] | None) -> None:
    found = [(parent.name, parent.relation, parent.source) for parent in declared_parents(card(sentence))]
    assert found == ([] if expected is None else [(*expected, "prose")])


@pytest.mark.parametrize(
    "piece", ["fine-tuned version of ", "[" * 50, "fine-tuned [a](", "[a](b) which ", "`a/b", "a-" * 20]
)
def test_prose_is_searched_in_linear_time(piece: str) -> None:
    began = time.perf_counter()
    declared_parents(card(piece * (100_000 // len(piece))))
    assert time.perf_counter() - began < 3


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["o/p", "peft", "merge"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "models", "relation", "base_model"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(ODD, ODD, ODD, ODD, st.lists(ODD, max_size=3), st.text(max_size=80))
def test_whatever_is_written_gives_declared_parents(a: Any, b: Any, c: Any, d: Any, tags: list[Any], body: str) -> None:
    odd = card(body, base_model=a, base_model_relation=b, tags=c, library_name=d)
    found = declared_parents(
        odd, base_models=a, tags=tags, adapter_config={"base_model_name_or_path": b}, commit_title=body
    )
    assert len(set(found)) == len(found)
    for parent in found:
        assert parent.relation in RELATIONS
        assert parent.source in SOURCES
        assert parent.kind in ("hub", "local path", "invalid")
        assert parent.name
        json.dumps(parent.name).encode()
