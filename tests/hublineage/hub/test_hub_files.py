"""resolve, signed addresses, ranges and faults, through the real client."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RevisionNotFoundError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hublineage.hub.files import Signer, byte_range
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hublineage.hub.faults import Faults

BASE = "acme/Base-ViT"


def signed(hub: HubServer, path: str = "model.safetensors", name: str = BASE) -> str:
    return str(httpx2.get(f"{hub.url}/{name}/resolve/main/{path}").headers["location"])


def test_the_real_client_downloads_small_and_large_files(
    hub: HubServer, api: HfApi, hub_folder: Path, tmp_path: Path
) -> None:
    for path in ("config.json", "model.safetensors", "onnx/deep/model.onnx"):
        local = hf_hub_download(BASE, path, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
        assert Path(local).read_bytes() == (hub_folder / BASE / path).read_bytes()
        assert str(api.model_info(BASE).sha) in local


def test_the_real_client_downloads_a_whole_snapshot(hub: HubServer, tmp_path: Path) -> None:
    folder = snapshot_download("lab/adapter", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_metadata_of_the_real_client_names_commit_etag_and_size(hub: HubServer, api: HfApi, hub_folder: Path) -> None:
    files = {file.rfilename: file for file in api.model_info(BASE, files_metadata=True).siblings or []}
    for path in ("config.json", "model.safetensors"):
        metadata = get_hf_file_metadata(hf_hub_url(BASE, path, endpoint=hub.url), token=False)
        lfs = files[path].lfs
        assert metadata.etag == (lfs.sha256 if lfs else files[path].blob_id)
        assert metadata.commit_hash == api.model_info(BASE).sha
        assert metadata.size == (hub_folder / BASE / path).stat().st_size
        assert metadata.xet_file_data is None


def test_a_small_file_is_a_relative_redirect_to_the_cache(hub: HubServer, api: HfApi) -> None:
    reply = httpx2.head(f"{hub.url}/{BASE}/resolve/main/onnx/config.json")
    assert reply.status_code == 307
    sha = api.model_info(BASE).sha
    assert reply.headers["location"].startswith(f"/api/resolve-cache/models/{BASE}/{sha}/onnx/config.json?")
    assert reply.headers["x-repo-commit"] == sha
    assert "x-linked-size" not in reply.headers
    final = httpx2.head(hub.url + reply.headers["location"])
    assert (final.status_code, final.headers["content-length"]) == (200, "2")
    assert final.headers["etag"] == reply.headers["x-linked-etag"]
    assert final.headers["x-repo-commit"] == sha


def test_a_large_file_is_a_redirect_to_a_signed_address(hub: HubServer, hub_folder: Path) -> None:
    size = (hub_folder / BASE / "model.safetensors").stat().st_size
    reply = httpx2.head(f"{hub.url}/{BASE}/resolve/main/model.safetensors")
    assert reply.status_code == 302
    assert reply.headers["location"].startswith(f"{hub.url}/cdn/")
    assert reply.headers["x-linked-size"] == str(size)
    assert reply.headers["accept-ranges"] == "bytes"
    assert len(reply.headers["x-linked-etag"].strip('"')) == 64
    assert "x-xet-hash" not in reply.headers
    final = httpx2.head(reply.headers["location"])
    assert (final.status_code, final.headers["content-length"]) == (200, str(size))


def test_any_file_above_ten_megabytes_is_a_large_one(hub: HubServer, hub_folder: Path) -> None:
    with (hub_folder / BASE / "notes.txt").open("wb") as stream:
        stream.truncate(10_000_001)
    assert httpx2.head(f"{hub.url}/{BASE}/resolve/main/notes.txt").status_code == 302


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "part"),
    [
        ("bytes=0-7", 206, "bytes 0-7/{}", slice(0, 8)),
        ("bytes=8-", 206, "bytes 8-{last}/{}", slice(8, None)),
        ("bytes=-5", 206, "bytes {tail}-{last}/{}", slice(-5, None)),
        ("bytes=5-99999999", 206, "bytes 5-{last}/{}", slice(5, None)),
        ("bytes=0-1,4-5", 200, None, slice(None)),
        ("bytes=9-3", 200, None, slice(None)),
        ("lines=1-2", 200, None, slice(None)),
        ("bytes=99999999-", 416, "bytes */{}", None),
        ("bytes=-0", 416, "bytes */{}", None),
    ],
)
def test_the_signed_address_serves_ranges(
    hub: HubServer, hub_folder: Path, asked: str, status: int, content_range: str | None, part: slice | None
) -> None:
    content = (hub_folder / BASE / "model.safetensors").read_bytes()
    size = len(content)
    reply = httpx2.get(signed(hub), headers={"range": asked})
    assert reply.status_code == status
    expected = content_range.format(size, last=size - 1, tail=size - 5) if content_range else None
    assert reply.headers.get("content-range") == expected
    assert reply.content == (content[part] if part else b"")


def test_a_range_with_a_stale_condition_gets_the_whole(hub: HubServer) -> None:
    address = signed(hub)
    etag = httpx2.head(address).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200)):
        assert httpx2.get(address, headers={"range": "bytes=0-7", "if-range": condition}).status_code == status


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 100), st.integers(0, 120), st.integers(0, 120))
def test_a_range_is_inside_the_file(size: int, first: int, last: int) -> None:
    try:
        part = byte_range(f"bytes={first}-{last}", size)
    except ValueError:
        assert first >= size
    else:
        assert part == ((first, min(last + 1, size)) if first <= last else None)


@settings(deadline=None, max_examples=50)
@given(st.text(), st.integers(0, 10))
def test_no_range_header_breaks_the_server(header: str, size: int) -> None:
    try:
        part = byte_range(header, size)
    except ValueError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def test_an_altered_or_unsigned_address_is_refused(hub: HubServer) -> None:
    address = signed(hub)
    plain = address.partition("?")[0]
    other = address.replace("/acme/Base-ViT/", "/lab/gated/")
    for wrong in (plain, address[:-1] + "x", address + "ü", address.replace("Expires=", "Expires=9"), other):
        assert httpx2.get(wrong).status_code == 403


def test_a_signed_address_expires(hub_folder: Path) -> None:
    now = [1_000_000.0]
    with HubServer(hub_folder, address_lifetime=60, clock=lambda: now[0]) as hub:
        address = signed(hub)
        assert httpx2.get(address, headers={"range": "bytes=0-7"}).status_code == 206
        now[0] += 61
        assert httpx2.get(address, headers={"range": "bytes=0-7"}).status_code == 403
        assert httpx2.get(signed(hub)).status_code == 200


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text(), st.text())
def test_nothing_but_the_signer_signs(path: str, expires: str, signature: str) -> None:
    assert Signer(b"secret", 60, lambda: 0.0).refusal(path, expires, signature) is not None


def test_a_signed_address_of_an_older_revision_is_gone(hub: HubServer, hub_folder: Path) -> None:
    address = signed(hub)
    (hub_folder / BASE / "config.json").write_text('{"changed": true}')
    assert httpx2.get(address).status_code == 404


def test_missing_files_and_revisions_have_their_codes(hub: HubServer, tmp_path: Path) -> None:
    for path, revision, kind in (("no.txt", "main", EntryNotFoundError), ("a", "0" * 40, RevisionNotFoundError)):
        with pytest.raises(kind):
            hf_hub_download(BASE, path, revision=revision, endpoint=hub.url, cache_dir=tmp_path, token=False)


def test_files_of_a_gated_repository_need_a_token_that_opens_it(hub: HubServer, tmp_path: Path) -> None:
    address = f"{hub.url}/lab/gated/resolve/main/model.safetensors"
    assert httpx2.head(address).status_code == 401
    assert httpx2.head(address, headers={"authorization": "Bearer hf_stranger"}).status_code == 403
    for token in (False, "hf_stranger"):
        with pytest.raises(GatedRepoError):
            get_hf_file_metadata(address, token=token)
    assert hf_hub_download("lab/gated", "model.safetensors", endpoint=hub.url, cache_dir=tmp_path, token="hf_member")


def test_the_cache_of_small_files_is_gated_too(hub: HubServer, hub_folder: Path, api: HfApi) -> None:
    (hub_folder / "lab/gated/config.json").write_text("{}")
    address = f"{hub.url}/api/resolve-cache/models/lab/gated/{api.model_info('lab/gated').sha}/config.json"
    assert httpx2.get(address).status_code == 401
    assert httpx2.get(address, headers={"authorization": "Bearer hf_member"}).text == "{}"


def test_files_of_a_disabled_repository_are_refused(hub: HubServer) -> None:
    with pytest.raises(DisabledRepoError):
        get_hf_file_metadata(f"{hub.url}/lab/disabled/resolve/main/config.json", token=False)


def test_a_file_asked_for_by_a_name_in_the_wrong_case_is_found(hub: HubServer) -> None:
    reply = httpx2.head(f"{hub.url}/ACME/base-vit/resolve/main/config.json")
    assert (reply.status_code, reply.headers["location"]) == (307, f"/{BASE}/resolve/main/config.json")


@pytest.mark.parametrize(
    "path",
    [
        "../child/config.json",
        "..%2fchild%2fconfig.json",
        "%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd",
        "%00",
        ".hub.json",
        "",
    ],
)
def test_paths_that_are_no_file_of_the_repository_are_refused(hub: HubServer, hub_folder: Path, path: str) -> None:
    (hub_folder.parent / "secret.txt").write_text("secret")
    reply = httpx2.get(f"{hub.url}/{BASE}/resolve/main/{path}", follow_redirects=True)
    assert reply.status_code in {400, 401, 404}
    assert "secret" not in reply.text


def test_names_with_spaces_and_letters_of_any_script_are_served(
    hub: HubServer, hub_folder: Path, tmp_path: Path
) -> None:
    for path in ("weights of ü #1?.safetensors", "100% – notes.txt"):
        (hub_folder / BASE / path).write_bytes(b"content")
        local = hf_hub_download(BASE, path, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
        assert Path(local).read_bytes() == b"content"


def test_a_download_cut_off_in_the_middle_is_finished_by_the_client(
    hub: HubServer, faults: Faults, hub_folder: Path, tmp_path: Path
) -> None:
    faults.cut_after(1000)
    local = hf_hub_download(BASE, "model.safetensors", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert Path(local).read_bytes() == (hub_folder / BASE / "model.safetensors").read_bytes()
    assert len([request for request in faults.asked if request.startswith("GET /cdn/")]) == 2


def test_a_cut_body_is_shorter_than_announced(hub: HubServer, faults: Faults) -> None:
    faults.cut_after(10)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(signed(hub))
    assert httpx2.get(signed(hub)).status_code == 200


def test_a_range_can_be_ignored_on_purpose(hub: HubServer, faults: Faults) -> None:
    faults.ignore_range("/cdn/*.safetensors", times=1)
    address = signed(hub)
    assert [httpx2.get(address, headers={"range": "bytes=0-7"}).status_code for _ in range(2)] == [200, 206]


def test_a_status_on_purpose_comes_as_often_as_asked_for(hub: HubServer, faults: Faults) -> None:
    faults.status(429, "/api/models", times=2, headers={"RateLimit": '"api";r=0;t=1'})
    replies = [httpx2.get(f"{hub.url}/api/models") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [429, 429, 200]
    assert replies[0].headers["ratelimit"] == '"api";r=0;t=1'
    assert faults.asked == ["GET /api/models"] * 3
    faults.status(503, times=None)
    with pytest.raises(HfHubHTTPError):
        get_hf_file_metadata(f"{hub.url}/{BASE}/resolve/main/config.json", token=False)
    faults.clear()
    assert httpx2.get(f"{hub.url}/api/models").status_code == 200


def test_a_file_larger_than_the_memory_allowed_is_streamed(hub: HubServer, hub_folder: Path) -> None:
    size = 300_000_000
    with (hub_folder / BASE / "huge.bin").open("wb") as stream:
        stream.truncate(size)
    address = signed(hub, "huge.bin")  # hashes it once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    received = 0
    with httpx2.stream("GET", address) as reply:
        for chunk in reply.iter_bytes():
            received += len(chunk)
    assert received == size
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 50_000_000


def test_a_client_that_goes_away_leaves_the_server_well(hub: HubServer, hub_folder: Path) -> None:
    with (hub_folder / BASE / "huge.bin").open("wb") as stream:
        stream.truncate(100_000_000)
    with httpx2.stream("GET", signed(hub, "huge.bin")) as reply:
        assert next(reply.iter_bytes())
    assert httpx2.get(signed(hub)).status_code == 200


def test_a_signed_address_is_on_the_host_that_was_asked(hub: HubServer) -> None:
    port = urlsplit(hub.url).port
    reply = httpx2.head(f"{hub.url}/{BASE}/resolve/main/model.safetensors", headers={"host": f"localhost:{port}"})
    assert reply.headers["location"].startswith(f"http://localhost:{port}/cdn/")
