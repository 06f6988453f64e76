"""Rows of the API, whatever is in them: records that the catalogue can hold."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from crawler.hub_listing import EXPAND
from crawler.hub_rows import listed_row, named, remote_files
from crawler.listing import ready_page, store_page
from crawler.selection import follows
from crawler.source import Listed, Page, RemoteFile
from db import crawls
from db.engine import transaction

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.dictionaries(st.sampled_from(["_id", "id", "modelId", *EXPAND]), JSON, max_size=12)
MINISTRAL: dict[str, Any] = {
    "_id": "6791c0ae2b4c1d1f0a4b7f10", "id": "lab/Small-24B-Instruct", "author": "lab", "gated": "auto",
    "sha": "50a43a1f4488595def221f672346761c85ad90ea", "lastModified": "2025-01-30T17:00:21.000Z",
    "createdAt": "2025-01-23T14:13:54.000Z", "private": False, "downloads": 19970, "likes": 240,
    "tags": ["safetensors", "mistral", "base_model:lab/Small-24B-Base", "region:us"], "library_name": "vllm",
    "siblings": [{"rfilename": "README.md"}, {"rfilename": "model-00001-of-00010.safetensors"},
                 {"rfilename": "training_args.bin"}],
    "config": {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "tokenizer_config": {"x": "y"}},
    "cardData": {"base_model": ["lab/Small-24B-Base"], "license": "apache-2.0", "widget": [{"text": "Hello"}]},
    "baseModels": {"relation": "finetune", "models": [{"_id": "6791b0", "id": "lab/Small-24B-Base"}]},
    "safetensors": {"parameters": {"BF16": 23572403200}, "total": 23572403200},
}  # fmt: skip
BOOK_OF_2022: dict[str, Any] = {
    "modelId": "someone/distilbert-finetuned", "sha": "dfddc3201b229ed006cc3c470189b209ce2edc36", "config": None,
    "lastModified": "2022-01-06T16:40:06.000Z", "tags": [], "pipeline_tag": None, "private": False, "likes": 0,
    "siblings": [{"rfilename": ".gitattributes"}], "downloads": 0,
}  # fmt: skip


def test_a_row_tells_architecture_parents_and_formats() -> None:
    row = listed_row(MINISTRAL)
    assert (row.name, row.hub_id, row.gated, row.parameters) == (
        "lab/Small-24B-Instruct",
        "6791c0ae2b4c1d1f0a4b7f10",
        "auto",
        23572403200,
    )
    assert (row.architectures, row.model_type, row.formats) == (("MistralForCausalLM",), "mistral", ("safetensors",))
    assert row.config == {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    assert row.card_data == {"base_model": ["lab/Small-24B-Base"], "license": "apache-2.0"}
    assert row.base_models == MINISTRAL["baseModels"]


def test_a_row_of_2022_has_a_name_too() -> None:
    row = listed_row(BOOK_OF_2022)
    assert (row.name, row.architectures, row.formats) == ("someone/distilbert-finetuned", None, ())


@pytest.mark.parametrize(
    ("row", "pattern", "wanted"),
    [
        (Listed("a/b", architectures=("LlamaForCausalLM",)), "LlamaForCausalLM", True),
        (Listed("a/b", architectures=("LlamaForCausalLM",)), "Llama*", True),
        (Listed("a/b", architectures=("LlamaForCausalLM",), tags=("mistral",)), "MistralForCausalLM", False),
        (Listed("a/b", architectures=("LlamaForCausalLM",), model_type="llama"), "llama", True),
        (Listed("a/b", architectures=(), model_type="llama"), "LlamaForCausalLM", True),
        (Listed("a/b", tags=("xlm-roberta", "en")), "XLMRobertaForMaskedLM", True),
        (Listed("a/b", tags=("bert", "en")), "BertModel", True),
        (Listed("a/b", tags=("llama-factory", "en")), "LlamaForCausalLM", False),
        (Listed("a/b", tags=("gpt2",)), "GPT2LMHeadModel", True),
        (Listed("a/b"), "BertModel", False),
        (Listed("a/b", tags=("bert",)), "*ForMaskedLM", False),
    ],
)
def test_what_is_followed_is_decided_by_what_the_row_carries(row: Listed, pattern: str, wanted: bool) -> None:
    assert follows(row, (pattern,)) is wanted
    assert follows(row, ())


@given(row=ROWS)
def test_any_row_becomes_a_record_or_has_no_name(row: dict[str, Any]) -> None:
    row = json.loads(json.dumps(row))
    if named(row):
        found = listed_row(row)
        assert 0 < len(found.name) <= 300
        follows(found, ("LlamaForCausalLM",))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_no_row_spoils_its_page(engine: Engine, rows: list[dict[str, Any]]) -> None:
    rows = [{**row, "id": f"org/{number}"} for number, row in enumerate(json.loads(json.dumps(rows)))]
    page = Page(tuple(listed_row(row) for row in rows if named(row)), None)
    for _ in range(2):
        with transaction(engine) as session:
            ids = store_page(session, crawls.source_id(session, "http://hub"), ready_page(page))
    with engine.connect() as connection:
        there = connection.scalar(
            text("SELECT count(*) FROM repositories WHERE id = ANY(:ids) AND removed_at IS NULL"), {"ids": list(ids)}
        )
    assert there == len(ids) >= 1


@pytest.mark.parametrize("name", ["", " ", "org/a\nb", "org/\x1b[31mred", "x" * 301, None, 7, ["org/a"]])
def test_what_cannot_be_printed_is_no_name(name: Any) -> None:
    assert named({"id": name}) is None


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-10:00", "1969-01-01", "2150-01-01T00:00:00Z", "soon", 7, None],
)
def test_a_moment_that_cannot_be_is_none(moment: Any) -> None:
    row = listed_row({"id": "a/b", "createdAt": moment, "lastModified": moment})
    assert (row.created_at, row.last_modified) == (None, None)


def test_times_are_utc() -> None:
    row = listed_row({"id": "a/b", "createdAt": "2026-01-02T03:04:05+02:00"})
    assert row.created_at is not None
    assert row.created_at.isoformat() == "2026-01-02T01:04:05+00:00"


def test_odd_files_are_left_out_and_odd_facts_of_files_are_unknown() -> None:
    siblings = [
        SimpleNamespace(rfilename="a.safetensors", size=None, blob_id=7, lfs={"sha256": 3}),
        SimpleNamespace(rfilename=None, size=1, blob_id=None, lfs=None),
        SimpleNamespace(rfilename="b\0", size=1, blob_id=None, lfs=None),
        SimpleNamespace(rfilename="c", size=10**30, blob_id="0", lfs=SimpleNamespace(sha256="f" * 64)),
    ]
    assert remote_files(siblings) == (
        RemoteFile("a.safetensors", -1),
        RemoteFile("c", -1, "0", "f" * 64),
    )
