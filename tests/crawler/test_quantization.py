"""Quantisation: it decides the relation, and its configuration may name the base."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.cards import Card
from crawler.declared import declared_parents
from crawler.quantization import method, names_quantized

GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (GPTQ, "gptq"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {}}, None),
        ({"quantization_config": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_method_is_the_configurations_own_word(config: dict[str, Any] | None, expected: str | None) -> None:
    assert method(config) == expected


def test_a_quantised_model_is_a_quantisation_of_its_parent_unless_that_is_one_too() -> None:
    def relation(name: str, **more: Any) -> str:
        return declared_parents(Card({"base_model": name, **more}), config=GPTQ)[0].relation

    assert relation("o/p") == "quantized"
    assert relation("o/p-bnb-4bit") == "finetune"
    assert relation("o/p", tags=["lora"]) == "adapter"
    assert relation("o/p", base_model_relation="finetune") == "finetune"
    assert declared_parents(Card({"base_model": "o/p"}), quantize_config={"bits": 4})[0].relation == "quantized"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TheBloke/Llama-2-7B-GPTQ", True),
        ("unsloth/gemma-2-9b-bnb-4bit", True),
        ("o/x-AWQ", True),
        ("o/x-6.0bpw-h8-exl2", True),
        ("o/x-w8a8", True),
        ("bert-base-uncased", False),
        ("o/int4x", False),
        ("o/Phi-4-mini", False),
    ],
)
def test_a_name_tells_that_a_model_is_quantised(name: str, expected: bool) -> None:
    assert names_quantized(name) is expected


def test_its_configuration_may_name_the_base() -> None:
    (found,) = declared_parents(None, quantize_config={"bits": 4, "base_model": "o/p", "model_name_or_path": "/out/x"})
    assert (found.name, found.relation, found.source, found.detail) == (
        "o/p",
        "quantized",
        "quantization",
        {"method": "gptq"},
    )


def test_the_model_that_was_loaded_is_a_hint() -> None:
    def hints(config: dict[str, Any]) -> list[tuple[str, str, Any]]:
        found = declared_parents(None, config=config, model="o/self")
        assert all(one.source == "config" for one in found)
        return [(one.name, one.relation, one.detail) for one in found]

    assert hints({"_name_or_path": "o/p"}) == [("o/p", "unknown", None)]
    assert hints({"_name_or_path": "o/p", **GPTQ}) == [("o/p", "quantized", {"method": "gptq"})]
    assert hints({"_name_or_path": "o/p-gptq", **GPTQ})[0][1] == "unknown"
    assert (
        hints({"_name_or_path": "O/Self"}) == hints({"_name_or_path": "/out/x"}) == hints({"_name_or_path": ""}) == []
    )
    assert hints({"encoder": {"_name_or_path": "o/e"}}) == [("o/e", "unknown", {"part": "encoder"})]
