"""Declared parents from every source that names one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cards import Card
from crawler.declared import PARENTS_LIMIT, declared_parents, listed_parents
from crawler.parents import SOURCES, Declared, parent_name, read_name
from db.models import RELATIONS


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
        ("https://huggingface.co/home/me/model", ("/home/me/model", "local path")),
        ("https://huggingface.co/models/org/name", ("org/name", "hub")),
        ("[name](https://huggingface.co/org/name)", ("org/name", "hub")),
        ("<https://huggingface.co/org/name>", ("org/name", "hub")),
        ("org/name/tree/main", ("org/name", "hub")),
        ("/root/.cache/huggingface/hub/models--org--na-me/snapshots/0123abc", ("org/na-me", "hub")),
        ("models--bert-base/snapshots/0123abc", ("bert-base", "hub")),
        ("models/name", ("models/name", "hub")),
        ("hf.co/org/name:Q4_K_M", ("org/name", "hub")),
        ("git@hf.co:org/name.git", ("org/name", "hub")),
        ("org/name?x=1#y,", ("org/name", "hub")),
        ("<your model>", ("<your model>", "invalid")),
        ("<model>", ("<model>", "invalid")),
        ("datasets/org/name", ("datasets/org/name", "invalid")),
        ("s3://bucket/key", ("s3://bucket/key", "invalid")),
        ("out/checkpoint-500", ("out/checkpoint-500", "local path")),
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


@pytest.mark.parametrize(
    ("raw", "revision"),
    [
        ("org/name@v1.0", "v1.0"),
        ("org/name@main", None),
        ("org/name:v2", "v2"),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "refs/pr/1"),
        ("https://huggingface.co/org/name/blob/v2/config.json", "v2"),
        ("org/name/resolve/abc/model.safetensors", "abc"),
        ("org/name", None),
        ("org/name@what is this", None),
    ],
)
def test_a_revision_is_told_from_the_name(raw: str, revision: str | None) -> None:
    assert read_name(raw) == ("org/name", "hub", revision)
    (found,) = declared_parents(Card({"base_model": raw}))
    assert (found.detail or {}).get("revision") == revision


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


@pytest.mark.parametrize(
    ("said", "relation"),
    [
        ("Fine-Tune", "finetune"),
        ("fine_tuned", "finetune"),
        (" finetuning ", "finetune"),
        ("Quantised", "quantized"),
        ("GGUF", "quantized"),
        ("LoRA", "adapter"),
        ("merges", "merge"),
        (["quantized"], "quantized"),
        ("duplicate", "duplicate"),
        ("", "finetune"),
        ([], "finetune"),
    ],
)
def test_a_relation_is_understood_however_it_is_spelled(said: Any, relation: str) -> None:
    assert one(card(base_model="o/p", base_model_relation=said))[1] == relation


@pytest.mark.parametrize(
    ("said", "words"), [("distill", "distill"), (["a", "b"], "a, b"), (7, "int"), ({"x": 1}, "dict")]
)
def test_an_unknown_relation_keeps_its_word(said: Any, words: str) -> None:
    (found,) = declared_parents(card(base_model="o/p", base_model_relation=said))
    assert (found.relation, found.detail) == ("unknown", {"relation": words})


def test_a_list_of_relations_goes_with_a_list_of_parents() -> None:
    found = declared_parents(card(base_model=["o/a", "o/b"], base_model_relation=["adapter", "quantized"]))
    assert [(parent.name, parent.relation) for parent in found] == [("o/a", "adapter"), ("o/b", "quantized")]


def test_the_hubs_reading_counts_where_the_card_is_silent() -> None:
    assert declared_parents(card(base_model="old"), tags=["base_model:quantized:o/new"])[0].relation == "quantized"
    silent = card(base_model=["o/a", "o/b"])
    tags = ["base_model:adapter:o/a", "base_model:merge:o/b"]
    assert [parent.relation for parent in declared_parents(silent, tags=tags)[:2]] == ["adapter", "merge"]


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "o/p"},
        {"id": "o/p", "url": "https://example.org"},
        [{"model": "o/p"}],
        {"o/p": None},
        {"name": ["o/p"]},
        "o/p ",
        ["o/p", "o/p"],
        ["https://huggingface.co/o/p", None, ""],
    ],
)
def test_a_parent_is_read_in_every_form_that_cards_use(raw: Any) -> None:
    assert one(card(base_model=raw, base_model_relation="finetune")) == ("o/p", "finetune", "card", "hub")


@pytest.mark.parametrize("raw", ["o/p, o/q", "o/p;o/q", "o/p and o/q", "o/p\no/q", ["o/p", "o/q"]])
def test_several_names_in_one_text_are_several_parents(raw: Any) -> None:
    found = declared_parents(card(base_model=raw))
    assert [(parent.name, parent.relation) for parent in found] == [("o/p", "merge"), ("o/q", "merge")]


def test_several_parents_are_a_merge_in_the_cards_order() -> None:
    found = declared_parents(card(base_model=["o/b", "o/a", "o/b"]))
    assert [(parent.name, parent.relation) for parent in found] == [("o/b", "merge"), ("o/a", "merge")]


def test_base_models_are_a_dict_whatever_the_hint_says() -> None:
    raw = {"relation": "adapter", "models": [{"_id": "1", "id": "o/p"}]}
    assert one(None, base_models=raw) == ("o/p", "adapter", "baseModels", "hub")
    assert one(None, base_models=[raw]) == ("o/p", "adapter", "baseModels", "hub")
    assert one(None, base_models=["o/p"]) == ("o/p", "unknown", "baseModels", "hub")
    assert one(None, base_models={"_id": "1", "id": "o/p"}) == ("o/p", "unknown", "baseModels", "hub")


@pytest.mark.parametrize(
    ("raw", "expected"), [("61a0", "61a0"), (5, None), ("", None), ("a b", None), ("x" * 99, None)]
)
def test_the_parents_own_id_is_kept(raw: Any, expected: str | None) -> None:
    (found,) = declared_parents(None, base_models={"relation": "merge", "models": [{"_id": raw, "id": "o/p"}]})
    assert found.hub_id == expected


def test_a_tag_with_its_relation_replaces_the_bare_one() -> None:
    tags = ["base_model:o/p", "base_model:quantized:o/p", "base_model:adapter:/home/x/y", "base_model:o/q", "pytorch"]
    tags += ["base_model:distill:o/d", "base_model:https://huggingface.co/o/r"]
    assert declared_parents(None, tags=tags) == (
        Declared("o/p", "quantized", "tags", "hub"),
        Declared("/home/x/y", "adapter", "tags", "local path"),
        Declared("o/q", "unknown", "tags", "hub"),
        Declared("o/d", "unknown", "tags", "hub", detail={"relation": "distill"}),
        Declared("o/r", "unknown", "tags", "hub"),
    )


def test_an_adapters_config_names_its_base() -> None:
    assert one(None, adapter_config={"base_model_name_or_path": "./x"}) == (
        "./x",
        "adapter",
        "adapter_config",
        "local path",
    )


@pytest.mark.parametrize(
    "config",
    [
        {"base_model_name_or_path": "o/p", "peft_type": "LORA"},
        {"base_model_name_or_path": None, "model_name": "o/p", "model_type": "bert"},
        {"model": "o/p", "fine_tune_type": "lora", "adapter_path": "adapters"},
    ],
)
def test_adapters_of_every_kind_name_their_base(config: dict[str, Any]) -> None:
    assert one(None, adapter_config=config) == ("o/p", "adapter", "adapter_config", "hub")


def test_an_adapter_asks_for_a_revision() -> None:
    (found,) = declared_parents(None, adapter_config={"base_model_name_or_path": "o/p", "revision": "abc"})
    assert found.detail == {"revision": "abc"}


def test_a_commits_title_tells_a_duplicate() -> None:
    titles = ["initial commit", "duplicated  from https://huggingface.co/o/p.", "Update README.md"]
    assert one(None, commit_titles=titles) == ("o/p", "duplicate", "commit", "hub")
    assert declared_parents(None, commit_titles=["Remove a duplicate from the list", ""]) == ()


def test_listed_rows_declare_what_described_ones_do() -> None:
    data = {"base_model": "bert", "tags": ["x"]}
    models = {"relation": "finetune", "models": [{"_id": "5f", "id": "google/bert"}]}
    tags = ["base_model:google/bert", "base_model:finetune:google/bert"]
    expected = (
        Declared("bert", "finetune", "card", "hub"),
        Declared("google/bert", "finetune", "baseModels", "hub", "5f"),
        Declared("google/bert", "finetune", "tags", "hub"),
    )
    assert listed_parents(data, models, tags) == expected
    assert declared_parents(Card(data), base_models=models, tags=tags) == expected
    assert listed_parents(None, None, None) == listed_parents("x", {}, "base_model:o/p") == ()


def test_all_sources_come_in_their_order() -> None:
    found = declared_parents(
        card("a fine-tuned version of `o/prose`", base_model="o/card"),
        base_models={"relation": "finetune", "models": [{"id": "o/hub"}]},
        tags=["base_model:o/tag"],
        adapter_config={"base_model_name_or_path": "o/adapter"},
        mergekit_config=b"models: [o/merge]",
        config={"_name_or_path": "o/config"},
        quantize_config={"bits": 4, "base_model": "o/quantized"},
        commit_titles=("Update", "Duplicate from o/original"),
        model="o/self",
    )
    assert [one.source for one in found] == list(SOURCES)
    assert [one.row() for one in found] == [asdict(one) for one in found]


def test_a_merge_that_cannot_be_read_is_read_from_the_card() -> None:
    body = "```yaml\nmerge_method: linear\nmodels: [o/a]\n```"
    (found,) = declared_parents(card(body), mergekit_config=b"[")
    assert (found.name, (found.detail or {})["from"]) == ("o/a", "README.md")
    (found,) = declared_parents(card(body), mergekit_config=b"models: [o/b]")
    assert found.name == "o/b"


def test_no_model_has_hundreds_of_parents() -> None:
    assert len(declared_parents(card(base_model=[f"o/{number}" for number in range(1_000)]))) == PARENTS_LIMIT


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
    config = {"_name_or_path": a, "quantization_config": b, "encoder": c}
    found = declared_parents(
        odd,
        base_models=a,
        tags=tags,
        adapter_config={"base_model_name_or_path": b, "revision": c},
        mergekit_config=body.encode("utf-8", "surrogatepass"),
        config=config,
        quantize_config=b if isinstance(b, dict) else None,
        commit_titles=(body, f"Duplicate from {body}"),
    )
    assert len({(one.name, one.relation, one.source) for one in found}) == len(found)
    for one in (*found, *listed_parents(a, b, c)):
        assert one.relation in RELATIONS
        assert one.source in SOURCES
        assert one.kind in ("hub", "local path", "invalid")
        assert one.name
        text = json.dumps(asdict(one), allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in text
        text.encode()
