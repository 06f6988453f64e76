"""What a folder says: cards, configs, sidecars, links, and the server's start and stop."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import NothingToDo, UsageError
from hublineage.hub.card import card_data, jsonable
from hublineage.hub.folder import Folder
from hublineage.hub.server import HubServer
from hublineage.hub.sidecar import parse_sidecar

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteModel

    from hublineage.hub.metadata import Metadata


@pytest.fixture
def describe(write_model: WriteModel, tmp_path: Path) -> Any:
    def of(files: dict[str, Any], **sidecar: Any) -> Metadata:
        write_model("org/model", files, **sidecar)
        folder = Folder(tmp_path / "hub")
        repository = folder.find("org/model")
        assert repository is not None
        return folder.metadata(repository)

    return of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# no header",
        "---\nkey: [unclosed\n---\n",
        "---\nnever: closed\n",
        "---\n- a\n- list\n---\n",
        "---\njust text\n---\n",
        "---\n---\n",
        "text first\n---\nlicense: mit\n---\n",
        "---\n" + "[" * 5000 + "\n---\n",
        "---\na: &a [*a]\n---\n",
        "---\n"
        + "a0: &a0 [x]\n"
        + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
        + "---\n",
        "---\na: !!int ''\n---\n",
        "---\na: !!python/object:os.system x\n---\n",
        "---\n? {a: 1}\n: x\n---\n",
        "---\na: \t\n\tb\x00: 1\n---\n",
    ],
)
def test_a_malformed_header_is_no_card(text: str) -> None:
    assert card_data(text) is None


def test_a_header_is_read_as_the_hub_reads_it() -> None:
    text = "\ufeff---\r\nlanguage: no\r\nwhen: 2024-01-01\r\nn: 0x10\r\nx: 1e-4\r\nok: true\r\nempty:\r\n---\r\n# Title"
    assert card_data(text) == {"language": "no", "when": "2024-01-01", "n": 16, "x": 1e-4, "ok": True, "empty": None}


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_header_is_a_crash(text: str) -> None:
    card = card_data(f"---\n{text}\n---\n")
    json.dumps(card, allow_nan=False).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@settings(deadline=None, max_examples=50)
@given(json_values)
def test_whatever_yaml_gives_becomes_json(value: Any) -> None:
    json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("card", "files", "relation"),
    [
        ("base_model: a/b", {}, "finetune"),
        ("base_model: [a/b, c/d]", {}, "merge"),
        ("base_model: a/b\nlibrary_name: peft", {}, "adapter"),
        ("base_model: a/b", {"adapter_config.json": {}}, "adapter"),
        ("base_model: a/b", {"config.json": {"quantization_config": {"bits": 4}}}, "quantized"),
        ("base_model: a/b", {"model.gguf": "x"}, "quantized"),
        ("base_model: [a/b, c/d]\nbase_model_relation: finetune", {}, "finetune"),
        ("base_model: a/b\nbase_model_relation: distill", {}, "distill"),
    ],
)
def test_the_relation_is_inferred_unless_it_is_stated(
    describe: Any, card: str, files: dict[str, Any], relation: str
) -> None:
    metadata = describe({"README.md": f"---\n{card}\n---\n", **files})
    assert metadata.relation == relation
    assert f"base_model:{relation}:a/b" in metadata.tags
    assert "base_model:a/b" in metadata.tags


def test_tags_come_in_the_order_of_the_hub(describe: Any) -> None:
    card = (
        "---\nlibrary_name: transformers\ntags: [demo, 3, demo]\nlanguage: [en, no]\ndatasets: food\nbase_model: a/b\n"
        "license: [mit, other]\n---\nSee arxiv.org/abs/2405.18432"
    )
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 8}
    metadata = describe({"README.md": card, "config.json": config, "model.safetensors": b""}, tags=["extra", "demo"])
    assert metadata.tags == (
        *("transformers", "safetensors", "gpt2", "text-generation", "demo", "en", "no", "dataset:food"),
        *("arxiv:2405.18432", "base_model:a/b", "base_model:finetune:a/b", "license:mit", "license:other", "region:us"),
        "extra",
    )
    assert metadata.safetensors is None


@pytest.mark.parametrize("value", ["3", "{a: b}", "null", "[]", "[[x], {y: z}, 4, '']", "''"])
def test_an_odd_base_model_is_no_parent(describe: Any, value: str) -> None:
    metadata = describe({"README.md": f"---\nbase_model: {value}\n---\n"})
    assert metadata.base_models == ()
    assert metadata.relation is None


def test_a_card_in_another_encoding_is_read_with_replacements(describe: Any) -> None:
    metadata = describe({"README.md": "---\nlicense: mit\nauthor: Zoë\n---\n".encode("latin-1")})
    assert metadata.card == {"license": "mit", "author": "Zo\ufffd"}


def test_configs_are_reduced_and_bad_ones_absent(describe: Any) -> None:
    tokenizer = {"eos_token": "</s>", "model_max_length": 10**30}
    good = describe({"config.json": '{"model_type": "x", "hidden": NaN}', "tokenizer_config.json": tokenizer})
    assert good.config == {"model_type": "x", "tokenizer_config": {"eos_token": "</s>"}}
    for bad in ("{", "[1]", "[" * 100_000, '{"architectures": ["\\ud800"], "model_type": 1e999}', b"\xff\xfe"):
        json.dumps(describe({"config.json": bad, "tokenizer_config.json": ""}).config, allow_nan=False)


def header(spec: Any) -> bytes:
    text = json.dumps(spec).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        header([1]),
        header({"t": {"dtype": "F32"}}),
        header({"t": {"dtype": "F32", "shape": [-1]}}),
        header({"t": {"dtype": "F32", "shape": "4"}}),
        header({"t": {"dtype": ["F32"], "shape": [4]}}),
        header({"t": 3}),
        struct.pack("<Q", 2) + b"\xff\xff",
    ],
)
def test_malformed_weights_have_no_parameter_counts(describe: Any, content: bytes) -> None:
    assert describe({"model.safetensors": content}).safetensors is None


def test_shards_are_counted_together_unless_one_is_missing(describe: Any) -> None:
    files: dict[str, Any] = {
        "model.safetensors.index.json": {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}},
        "one.safetensors": header({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}),
    }
    assert describe(files).safetensors is None
    files["two.safetensors"] = header({"b": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}, "__metadata__": {}})
    assert describe(files).safetensors == {"parameters": {"F32": 6, "BF16": 1}, "total": 7}


def test_without_a_sidecar_the_times_are_those_of_the_files(write_model: WriteModel, tmp_path: Path) -> None:
    folder = write_model("org/model", {"old.txt": "", "new.txt": ""})
    os.utime(folder / "old.txt", (1_600_000_000, 1_600_000_000))
    os.utime(folder / "new.txt", (1_700_000_000, 1_700_000_000))
    repository = Folder(tmp_path / "hub").find("org/model")
    assert repository is not None
    assert repository.created_at == datetime.fromtimestamp(1_600_000_000, UTC)
    assert repository.last_modified == datetime.fromtimestamp(1_700_000_000, UTC)
    assert repository.hub_id.startswith(f"{1_600_000_000:08x}")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"gated": "yes"}', '{"likes": true}', '{"private": "no"}', '{"created_at": "soon"}']
)
def test_a_sidecar_that_cannot_be_understood_hides_its_repository(
    write_model: WriteModel, tmp_path: Path, text: str
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any
        parse_sidecar(text.encode())
    write_model("org/model", {".hub.json": text, "config.json": "{}"})
    with HubServer(tmp_path / "hub") as hub:
        assert httpx2.get(f"{hub.url}/api/models").json() == []
        assert httpx2.get(f"{hub.url}/org/model/resolve/main/config.json").status_code == 401


def test_links_out_of_the_folder_hidden_folders_and_odd_names_are_not_served(
    write_model: WriteModel, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("secret")
    model = write_model("org/model", {"real.txt": "x", ".git/config": "x", ".cache/huggingface/x": "x"})
    (model / "inside.txt").symlink_to(model / "real.txt")
    (model / "outside.txt").symlink_to(tmp_path / "outside/secret.txt")
    (model / "outside").symlink_to(tmp_path / "outside")
    (model / "nowhere.txt").symlink_to(model / "gone")
    (model / "circle").symlink_to(model / "circle")
    os.mkfifo(model / "pipe")
    (tmp_path / "hub/org/linked").symlink_to(tmp_path / "outside")
    (tmp_path / "hub/linked").symlink_to(tmp_path)
    (tmp_path / "hub/org/.hidden").mkdir()
    (tmp_path / "hub/org/with space").mkdir()
    (tmp_path / "hub/truth.json").write_text("{}")
    with open(os.path.join(os.fsencode(model), b"bad\xff.txt"), "wb"):  # noqa: PTH118, PTH123
        pass
    folder = Folder(tmp_path / "hub")
    assert folder.names() == ["org/model"]
    repository = folder.find("org/model")
    assert repository is not None
    assert [file.path for file in repository.files] == ["inside.txt", "real.txt"]
    assert folder.find("org/linked") is None
    assert folder.find("../outside") is None


def test_a_file_is_hashed_once_and_again_when_it_changed(write_model: WriteModel, tmp_path: Path) -> None:
    path = write_model("org/model", {"model.bin": b"\0" * 1000}) / "model.bin"
    folder = Folder(tmp_path / "hub")

    def ids() -> object:
        repository = folder.find("org/model")
        assert repository is not None
        return folder.ids.of(repository.files[0])

    assert ids() is not ids(), "what was written this moment may be written again without a trace"
    time.sleep(0.06)
    first = ids()
    assert ids() is first
    path.write_bytes(b"\1" * 1000)
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert ids() != first


def test_the_server_starts_where_it_can_and_says_where_it_cannot(hub_folder: Path, tmp_path: Path) -> None:
    with HubServer(hub_folder) as hub:
        address, port = hub.url, int(hub.url.rpartition(":")[2])
        assert httpx2.get(f"{address}/api/models?limit=0").json() == []
        with pytest.raises(NothingToDo, match=str(port)), HubServer(hub_folder, port=port):
            pass
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with pytest.raises(UsageError, match="missing"):
        HubServer(tmp_path / "missing")
    with pytest.raises(ValueError, match="not running"):
        _ = hub.url


def test_an_unknown_address_is_not_found(hub: HubServer) -> None:
    assert httpx2.get(f"{hub.url}/api/nothing").status_code == 404
    assert httpx2.post(f"{hub.url}/api/models").status_code == 405
