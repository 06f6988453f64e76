"""Merge configurations in every documented layout: which models, how much of each, and which of their layers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.mergekit import FILE, card_merge_parents, merge_parents
from crawler.parents import Declared
from db.errors import ConfigMalformed


def parents(text: str) -> dict[str, Declared]:
    found = merge_parents(text.encode())
    assert all((one.relation, one.source) == ("merge", "mergekit") for one in found)
    return {one.name: one for one in found}


def weights(text: str) -> dict[str, float | None]:
    return {name: one.weight for name, one in parents(text).items()}


def detail(text: str, name: str) -> dict[str, Any]:
    return dict(parents(text)[name].detail or {})


@pytest.mark.parametrize(
    "method",
    [
        "linear", "multislerp", "nuslerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "della",
        "della_linear", "breadcrumbs", "breadcrumbs_ties", "model_breadcrumbs", "sce", "a_method_of_next_year",
    ],
)  # fmt: skip
def test_models_come_with_their_weights_whatever_the_method(method: str) -> None:
    text = f"""
    merge_method: {method}
    base_model: o/base
    models:
      - model: o/base
      - model: o/a
        parameters: {{weight: 0.3, density: 0.5}}
      - model: o/b
        parameters: {{weight: '.7'}}
    parameters: {{normalize: true}}
    """
    assert weights(text) == {"o/base": None, "o/a": 0.3, "o/b": 0.7}
    assert detail(text, "o/base")["role"] == "base"
    settings = {"normalize": True}
    assert detail(text, "o/a") == {
        "method": method, "role": "model", "parameters": {"weight": 0.3, "density": 0.5}, "settings": settings,
    }  # fmt: skip


@pytest.mark.parametrize("method", ["model_stock", "karcher", "nearswap", "arcee_fusion", "passthrough"])
def test_methods_without_weights_name_their_models(method: str) -> None:
    text = f"merge_method: {method}\nbase_model: o/a\nmodels: [{{model: o/a}}, {{model: o/b}}]\nparameters: {{t: 0.01}}"
    assert weights(text) == {"o/a": None, "o/b": None}


def test_one_t_of_a_slerp_is_the_share_of_both() -> None:
    text = "merge_method: slerp\nbase_model: o/b\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {t: 0.3}"
    assert weights(text) == {"o/b": 0.7, "o/a": 0.3}
    gradient = text.replace("0.3", "[0, 0.5, 1]")
    assert weights(gradient) == {"o/b": None, "o/a": None}
    assert detail(gradient, "o/a")["settings"] == {"t": [0, 0.5, 1]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.5", 0.5),
        ("1", 1.0),
        ("-0.25", -0.25),
        ("{value: 0.5}", 0.5),
        ("[{value: 0.5}]", 0.5),
        ("[0.5]", 0.5),
        ("{filter: '*', value: 0.5}", 0.5),
        ("[0.1, 0.9]", None),
        ("[{filter: mlp, value: 0.5}, {value: 1}]", None),
        ("{filter: mlp, value: 0.5}", None),
        ("true", None),
        (".inf", None),
        ("1e99", 1e99),
        ("much", None),
    ],
)
def test_a_weight_is_a_number_or_it_stays_in_the_detail(value: str, expected: float | None) -> None:
    text = f"merge_method: linear\nmodels:\n  - model: o/a\n    parameters:\n      weight: {value}\n"
    assert weights(text) == {"o/a": expected}
    assert "weight" in detail(text, "o/a")["parameters"]


def test_slices_give_layers_in_their_order() -> None:
    text = """
    merge_method: passthrough
    slices:
      - sources: [{model: o/a, layer_range: [0, 24]}]
      - sources: [{model: o/b, layer_range: [8, 32]}]
      - sources: [{model: o/a, layer_range: [24, 40], parameters: {scale: 0}}]
      - sources: [{model: o/c, layer_range: [a, 1]}, {model: o/d, layer_range: [5, 2]}]
    """
    found = parents(text)
    assert found["o/a"].layers == ((0, 24), (24, 40))
    assert found["o/b"].layers == ((8, 32),)
    assert found["o/c"].layers is found["o/d"].layers is None
    assert detail(text, "o/a")["parameters"] == [{}, {"scale": 0}]


def test_the_nearer_parameter_counts() -> None:
    text = """
    merge_method: linear
    parameters: {weight: 0.1}
    slices:
      - parameters: {weight: 0.2}
        sources: [{model: o/a, layer_range: [0, 1]}, {model: o/b, layer_range: [0, 1], parameters: {weight: 0.3}}]
      - sources: [{model: o/c, layer_range: [1, 2]}, {model: o/b, layer_range: [1, 2], parameters: {weight: 0.4}}]
    """
    assert weights(text) == {"o/a": 0.2, "o/b": None, "o/c": 0.1}


def test_modules_are_read_like_merges() -> None:
    text = """
    merge_method: linear
    modules:
      text_decoder: {slices: [{sources: [{model: o/a, layer_range: [0, 2]}]}]}
      vision_tower: {models: [{model: o/b, parameters: {weight: 1}}]}
    """
    assert {name: (one.weight, one.layers) for name, one in parents(text).items()} == {
        "o/a": (None, ((0, 2),)),
        "o/b": (1.0, None),
    }


def test_a_mixture_has_a_base_and_experts() -> None:
    text = """
    base_model: o/base
    gate_mode: hidden
    experts:
      - source_model: o/a
        positive_prompts: ["write code"]
      - source_model: o/b
    shared_experts:
      - source_model: o/c
    """
    assert {name: (one.detail or {})["role"] for name, one in parents(text).items()} == {
        "o/base": "base", "o/a": "expert", "o/b": "expert", "o/c": "shared expert",
    }  # fmt: skip
    assert detail(text, "o/a")["method"] == "moe"


def test_parts_of_a_larger_merge_are_no_parents() -> None:
    text = """
name: first
merge_method: linear
models: [{model: o/a, parameters: {weight: 1}}, {model: o/b}]
---
name: second
merge_method: slerp
base_model: first
models: [{model: first}, {model: o/c}]
---
merge_method: ties
base_model: o/base
models: [{model: second}, {model: ./parts/first}, {model: o/a}]
"""
    found = parents(text)
    assert list(found) == ["o/a", "o/b", "o/c", "o/base"]
    assert detail(text, "o/b")["into"] == ["first"]
    assert "into" not in detail(text, "o/base")


def test_revisions_and_adapters_are_told_from_the_name() -> None:
    text = """
    merge_method: linear
    models:
      - model: o/a@v1.0+o/lora
      - model: {model: {path: o/b, revision: abc}, lora: {path: o/lora}}
      - model: {path: o/c}
      - model: ./local
      - o/d
    """
    found = parents(text)
    assert [(one.name, one.kind) for one in found.values()] == [
        ("o/a", "hub"), ("o/b", "hub"), ("o/c", "hub"), ("./local", "local path"), ("o/d", "hub"), ("o/lora", "hub"),
    ]  # fmt: skip
    assert (detail(text, "o/a")["revision"], detail(text, "o/a")["adapter"]) == ("v1.0", "o/lora")
    assert detail(text, "o/b")["revision"] == "abc"
    assert (detail(text, "o/lora")["role"], detail(text, "o/lora")["on"]) == ("adapter", "o/a")


@pytest.mark.parametrize(
    "said", ["tokenizer_source: o/t", "tokenizer_source: 'model:o/t'", "tokenizer: {source: o/t, tokens: {x: {}}}"]
)
def test_the_source_of_a_tokenizer_is_no_parent(said: str) -> None:
    text = f"merge_method: linear\nmodels: [{{model: o/a}}]\n{said}"
    assert list(parents(text)) == ["o/a"]
    assert detail(text, "o/a")["tokenizer"] == "o/t"
    assert "tokenizer" not in detail("merge_method: linear\nmodels: [{model: o/a}]\ntokenizer_source: union", "o/a")


def test_a_genome_is_a_merge_to_be() -> None:
    text = "genome: {models: [o/a, o/b], merge_method: dare_ties, base_model: o/base}\ntasks: [{name: x}]"
    assert list(parents(text)) == ["o/base", "o/a", "o/b"]
    assert detail(text, "o/a")["method"] == "dare_ties"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names no model"),
        (b"# nothing\n", "names no model"),
        (b"merge_method: ties\n", "names no model"),
        (b"just words", "is a text, expected a mapping"),
        (b"- model: o/a", "is a list, expected a mapping"),
        (b"models: [o/a", "YAML at line"),
        (b"\xff\xfe\x00", "not UTF-8 at byte 0"),
        (b"a: " + b"[" * 100_000, "levels"),
        (b"a: &x [*x]", "levels"),
        (b"x: " + b"y" * 300_000, "at most"),
        (b"models: [" + b"o/a," * 10_000 + b"]", "more than 5000 models"),
    ],
)
def test_what_is_no_configuration_says_why_and_where(content: bytes, words: str) -> None:
    with pytest.raises(ConfigMalformed, match=words) as caught:
        merge_parents(content)
    assert caught.value.file == FILE
    assert "\n" not in str(caught.value)


def test_what_is_long_is_cut() -> None:
    text = "merge_method: linear\nmodels:\n  - model: o/a\n    parameters: {weight: 1, x: '" + "y" * 5_000 + "'}\n"
    assert detail(text, "o/a") == {"method": "linear", "role": "model", "cut": True}
    assert weights(text) == {"o/a": 1.0}


def test_a_card_repeats_the_configuration() -> None:
    block = "merge_method: ties\nmodels:\n- model: o/a\n  parameters: {weight: 0.5}\n"
    for fence, end in (("```yaml", "```"), ("~~~~", "~~~~"), ("```yml", "")):
        (found,) = card_merge_parents(f"# Merge\n\n{fence}\n{block}{end}\n")
        assert (found.name, found.weight) == ("o/a", 0.5)
        assert (found.detail or {})["from"] == "README.md"
    (found,) = card_merge_parents(f"```yaml\n{block}\n## Licence\nThis [is: not\n```")
    assert found.name == "o/a"
    for other in (
        "",
        "text",
        "```python\nbase_model: o/a\n```",
        "```yaml\nbase_model: o/a\nlora_r: 8\n```",
        "```\n[\n```",
    ):
        assert card_merge_parents(other) == ()


@pytest.mark.parametrize(
    "piece", ["```yaml\n", "```\nbase_model: [\n", "~~~", "```yaml\nmerge_method: x\n\n[\n```\n", "```\n\n\n", "\n- "]
)
def test_a_card_is_searched_in_linear_time(piece: str) -> None:
    began = time.perf_counter()
    card_merge_parents(piece * (100_000 // len(piece)))
    assert time.perf_counter() - began < 3


KEYS = st.sampled_from([
    "models", "model", "slices", "sources", "layer_range", "base_model", "parameters", "weight", "t", "merge_method",
    "experts", "source_model", "name", "path", "lora", "revision", "modules", "genome", "tokenizer",
])  # fmt: skip
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["o/a", "o/b+o/c", "slerp", "./x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)


@given(st.binary(max_size=200) | st.dictionaries(KEYS, ODD, max_size=6).map(lambda value: json.dumps(value).encode()))
def test_whatever_is_written_gives_parents_or_the_declared_error(content: bytes) -> None:
    try:
        found = merge_parents(content)
    except ConfigMalformed:
        return
    assert len({one.name for one in found}) == len(found) > 0
    for one in found:
        text = json.dumps([one.name, one.weight, one.layers, one.detail], allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in text
        text.encode()
