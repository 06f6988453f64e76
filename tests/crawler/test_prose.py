"""Parents named in prose: told from datasets, tools, authors and the models next door."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.prose import PROSE_LIMIT, prose_parents

LINK = "[x](https://huggingface.co/o/p)"


def named(body: str) -> list[tuple[str, str]]:
    found = prose_parents(body)
    assert all((one.source, one.kind) == ("prose", "hub") for one in found)
    return [(one.name, one.relation) for one in found]


@pytest.mark.parametrize(
    ("sentence", "relation"),
    [
        (f"This model is a fine-tuned version of {LINK} on the None dataset.", "finetune"),
        ("is a fine-tuned\nversion of [o/p](https://example.org/x)", "finetune"),
        ("Fine-tuned [o/p](https://huggingface.co/o/p) on galician", "finetune"),
        (f"finetuned on top of feature extractor {LINK}", "finetune"),
        (f"a pre-trained {LINK} which is fine-tuned on tweets", "finetune"),
        (f"We used the pretrained {LINK} model and fine-tuned it on pairs", "finetune"),
        ("the [`p`](https://huggingface.co/o/p) fine-tuned on English", "finetune"),
        ("obtained by fine-tuning **o/p** model on Wolof", "finetune"),
        ("based on a fine-tuned o/p-1 model.", "finetune"),
        (f"We initialized the pre-training with weights from {LINK}", "finetune"),
        (f"The model is based on {LINK}, a transformer", "unknown"),
        (f"using {LINK} as the base model.", "unknown"),
        (f"smaller versions of {LINK} that handle fewer languages", "unknown"),
        ("a quantised version of `o/p`", "quantized"),
        (f"This repo contains GPTQ model files for {LINK}.", "quantized"),
        (f"LoRA adapter for the {LINK}", "adapter"),
        (f"This model was converted to MLX format from {LINK}", "unknown"),
        ("- **Finetuned from model :** o/p-1", "finetune"),
        ("| **Base Model** | o/p-1 (Qwen, 2B) |", "unknown"),
        ("Original model: https://huggingface.co/o/p.", "unknown"),
        ('a fine-tuned version of <a href="https://huggingface.co/o/p">x</a>', "finetune"),
        (f"对 {LINK} 进行 LoRA 微调", "finetune"),
        (f"merge of {LINK}", "merge"),
    ],
)
def test_a_sentence_names_the_parent(sentence: str, relation: str) -> None:
    assert [(name.removesuffix("-1"), said) for name, said in named(sentence)] == [("o/p", relation)]


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("a pre-trained [GPT-2](https://huggingface.co/gpt2) which is fine-tuned on tweets", "gpt2"),
        ("a *bert-base-cased* model that was fine-tuned on Luo corpus", "bert-base-cased"),
        ("Fine-tuning from `distilbert-base-cased` with a tiny dataset", "distilbert-base-cased"),
    ],
)
def test_a_bare_name_needs_a_link_or_emphasis(sentence: str, name: str) -> None:
    assert named(sentence) == [(name, "finetune")]


@pytest.mark.parametrize(
    "sentence",
    [
        "a fine-tuned version of [](https://huggingface.co/) on the None dataset",
        "fine-tuned on the [glue](https://huggingface.co/datasets/glue) dataset",
        "fine-tuned version of [o/p](https://huggingface.co/datasets/o/p)",
        f"fine-tuned on {LINK} dataset",
        f"fine-tuned using {LINK}",
        "fine-tuned by [someone](https://huggingface.co/someone)",
        "a fine-tuned version of [o/p](https://github.com/o/p)",
        "fine-tuned with and/or without",
        f"See {LINK} for more.",
        f"Its fine-tuned models are available at {LINK}",
        f"It was fine-tuned. See {LINK}",
        f"```python\n# fine-tuned version of {LINK}\n```",
        "",
    ],
)
def test_what_is_no_parent_is_passed_over(sentence: str) -> None:
    assert named(sentence) == []


def test_all_models_of_a_merge_are_named() -> None:
    body = (
        "This model was merged using the [TIES](https://arxiv.org/abs/2306.01708) merge method using "
        "[o/base](https://huggingface.co/o/base) as a base.\n\n### Models Merged\n\nThe following models were included "
        "in the merge:\n* [o/a](https://huggingface.co/o/a)\n* [o/b](https://huggingface.co/o/b)\n\n"
        "### See also\n* [o/c](https://huggingface.co/o/c)\n"
    )
    assert named(body) == [("o/base", "merge"), ("o/a", "merge"), ("o/b", "merge")]


def test_a_short_name_says_nothing_beside_the_full_one() -> None:
    body = "based on a fine-tuned google/byt5-base model. It is a *byt5-base* model that was fine-tuned on JW300"
    assert named(body) == [("google/byt5-base", "finetune")]


def test_no_more_parents_than_a_text_can_honestly_have() -> None:
    body = "\n".join(f"fine-tuned version of `o/m-{number}`." for number in range(50))
    assert len(named(body)) == PROSE_LIMIT


@pytest.mark.parametrize(
    "piece",
    [
        "fine-tuned version of ", "[" * 50, "fine-tuned [a](", "[a](b) which ", "`a/b", "a-" * 20, "*a-b", "a/b-1 ",
        "[a](https://huggingface.co/a/b) and ", "<a ", "```", "base model : ", "quant " * 9 + "`a/b` ",
    ],
)  # fmt: skip
def test_prose_is_searched_in_linear_time(piece: str) -> None:
    began = time.perf_counter()
    prose_parents(piece * (100_000 // len(piece)))
    assert time.perf_counter() - began < 3


PIECES = st.lists(
    st.sampled_from(
        ["fine-tuned", " version of ", LINK, "`o/p`", "*a-b*", "[", "](", ")", "```\n", "base model:", " | "]
    )
    | st.text(max_size=6),
    max_size=15,
).map("".join)


@given(PIECES)
def test_any_text_gives_names_of_the_hub(body: str) -> None:
    for name, relation in named(body):
        assert relation in ("finetune", "quantized", "adapter", "merge", "unknown")
        assert name.isascii()
