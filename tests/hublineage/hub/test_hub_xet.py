"""Xet-backed files, and storage on another host than the Hub."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_url

from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteModel
    from huggingface_hub import HfApi

BASE = "acme/Base-ViT"
WEIGHTS = f"/{BASE}/resolve/main/model.safetensors"


def entries(hub: HubServer, name: str) -> dict[str, Any]:
    return {row["path"]: row for row in httpx2.get(f"{hub.url}/api/models/{name}/tree/main").json()}


def test_xet_backed_files_carry_their_hash_everywhere(hub_folder: Path) -> None:
    with HubServer(hub_folder, xet=True) as hub:
        row = entries(hub, BASE)["model.safetensors"]
        assert list(row) == ["type", "oid", "size", "lfs", "xetHash", "path"]
        assert "xetHash" not in entries(hub, BASE)["config.json"]
        info = httpx2.post(f"{hub.url}/api/models/{BASE}/paths-info/main", json={"paths": ["model.safetensors"]})
        assert info.json()[0]["xetHash"] == row["xetHash"]
        reply = httpx2.head(hub.url + WEIGHTS)
        assert reply.headers["x-xet-hash"] == row["xetHash"]
        assert reply.headers["x-linked-etag"] == f'"{row["lfs"]["oid"]}"'
        sha = reply.headers["x-repo-commit"]
        assert reply.links["xet-auth"]["url"] == f"/api/models/{BASE}/xet-read-token/{sha}"
        final = httpx2.head(reply.headers["location"])
        assert final.headers["etag"] == f'"{row["xetHash"]}"'
        assert httpx2.get(f"{hub.url}/api/models/{BASE}?expand=xetEnabled").json()["xetEnabled"] is True
        assert httpx2.get(hub.url + reply.links["xet-auth"]["url"]).status_code == 404


def test_the_real_client_sees_a_xet_file(hub_folder: Path) -> None:
    with HubServer(hub_folder, xet=True) as hub:
        found = get_hf_file_metadata(hf_hub_url(BASE, "model.safetensors", endpoint=hub.url), token=False)
        row = entries(hub, BASE)["model.safetensors"]
    assert found.xet_file_data is not None
    assert found.xet_file_data.file_hash == row["xetHash"]
    assert (found.etag, found.size) == (row["lfs"]["oid"], row["size"])


def test_one_repository_can_be_xet_backed_and_equal_content_has_one_hash(
    hub: HubServer, hub_folder: Path, write_model: WriteModel
) -> None:
    content = (hub_folder / BASE / "model.safetensors").read_bytes()
    for name in ("one", "two"):
        (hub_folder / "xet" / name).mkdir(parents=True)
        (hub_folder / "xet" / name / f"{name}.safetensors").write_bytes(content)
        (hub_folder / "xet" / name / ".hub.json").write_text('{"xet": true}')
    assert "xetHash" not in entries(hub, BASE)["model.safetensors"]
    hashes = {entries(hub, f"xet/{name}")[f"{name}.safetensors"]["xetHash"] for name in ("one", "two")}
    assert len(hashes) == 1


def test_the_storage_can_be_on_another_host_where_tokens_show(hub_folder: Path) -> None:
    faults = Faults()
    with HubServer(hub_folder, faults=faults, cdn_host="localhost") as hub:
        token = {"authorization": "Bearer hf_secret"}
        address = httpx2.head(hub.url + WEIGHTS, headers=token).headers["location"]
        assert address.startswith(f"http://localhost:{hub.url.rpartition(':')[2]}/cdn/")
        assert httpx2.get(address, headers={"range": "bytes=0-7"}).status_code == 206
        assert faults.asked_with_token == [f"HEAD {WEIGHTS}"]
        httpx2.get(address, headers=token)
        assert faults.asked_with_token[1].startswith("GET /cdn/")
        assert faults.requests[-1].host.startswith("localhost:")


def test_the_storages_host_may_have_a_port_of_its_own(hub_folder: Path) -> None:
    with HubServer(hub_folder, cdn_host="cdn.example:81") as hub:
        assert httpx2.head(hub.url + WEIGHTS).headers["location"].startswith("http://cdn.example:81/cdn/")


def gguf(*entries: bytes, tensors: bytes = b"", count: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, count, len(entries)) + b"".join(entries) + tensors


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_a_gguf_file_tells_its_architecture(hub: HubServer, hub_folder: Path, api: HfApi) -> None:
    tokens = struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    entries = (
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("tokenizer.ggml.tokens") + tokens,
        text("llama.context_length") + struct.pack("<II", 4, 2048),
    )
    tensor = text("w") + struct.pack("<IQQIQ", 2, 3, 5, 0, 0)
    whole = gguf(*entries, tensors=tensor, count=1)
    folder = hub_folder / "lab/gguf"
    folder.mkdir()
    for content, expected in (
        (whole, {"total": 15, "architecture": "llama", "context_length": 2048}),
        (whole[:-1], None),
        (b"GGUF", None),
        (gguf(text("x") + struct.pack("<I", 99)), None),
        (gguf(text("x") + struct.pack("<IIQ", 9, 8, 1 << 60)), None),
        (gguf(text("x") + struct.pack("<IIQ", 9, 4, 1 << 60)), None),
    ):
        (folder / "model.gguf").write_bytes(content)
        assert api.model_info("lab/gguf", expand=["gguf"]).gguf == expected
