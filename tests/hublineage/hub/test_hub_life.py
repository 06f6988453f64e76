"""What happens to repositories in the course of a year: they move, vanish, close, and get new commits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from huggingface_hub import hf_hub_download

from hublineage.hub.sidecar import parse_sidecar

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hublineage.hub.server import HubServer

BASE, MOVED = "acme/Base-ViT", "newco/base"
HUB_ID = "63b2f0a0aabbccddeeff0011"


def sidecar(folder: Path, **fields: Any) -> None:
    path = folder / ".hub.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **fields}))


def rename(root: Path, old: str, new: str) -> None:
    """As the Hub does: the old name leads to the new one."""
    (root / new).parent.mkdir(exist_ok=True)
    (root / old).rename(root / new)
    known = json.loads((root / new / ".hub.json").read_text()).get("former_names", [])
    sidecar(root / new, former_names=[*known, old])


def test_a_renamed_repository_keeps_its_ids_and_its_old_name_leads_to_it(
    hub: HubServer, api: HfApi, hub_folder: Path, tmp_path: Path
) -> None:
    sidecar(hub_folder / BASE, hub_id=HUB_ID)
    before = httpx2.get(f"{hub.url}/api/models/{BASE}").json()
    assert before["_id"] == HUB_ID
    rename(hub_folder, BASE, MOVED)
    rename(hub_folder, MOVED, "newco/final")
    for old in (BASE, MOVED, BASE.lower()):
        reply = httpx2.get(f"{hub.url}/api/models/{old}/revision/main?blobs=true")
        assert reply.status_code == 307
        assert reply.headers["location"] == "/api/models/newco/final/revision/main?blobs=true"
    after = httpx2.get(f"{hub.url}/api/models/{BASE}", follow_redirects=True).json()
    assert (after["_id"], after["id"], after["sha"]) == (HUB_ID, "newco/final", before["sha"])
    assert api.get_paths_info(BASE, ["config.json"])[0].path == "config.json"
    local = hf_hub_download(BASE, "config.json", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert "ViTForImageClassification" in Path(local).read_text()
    assert httpx2.get(f"{hub.url}/api/models/acme/child?expand=baseModels").json()["baseModels"]["models"] == [
        {"_id": HUB_ID, "id": "newco/final"}
    ]


def test_an_id_is_kept_without_being_written_down(hub: HubServer, hub_folder: Path) -> None:
    before = httpx2.get(f"{hub.url}/api/models/{BASE}").json()
    rename(hub_folder, BASE, MOVED)
    after = httpx2.get(f"{hub.url}/api/models/{MOVED}").json()
    assert [after[key] for key in ("_id", "sha")] == [before[key] for key in ("_id", "sha")]


def test_a_signed_address_outlives_a_renaming(hub: HubServer, hub_folder: Path) -> None:
    address = httpx2.head(f"{hub.url}/{BASE}/resolve/main/model.safetensors").headers["location"]
    rename(hub_folder, BASE, MOVED)
    assert httpx2.get(address, headers={"range": "bytes=0-7"}).status_code == 206


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/api/models/{}", "/api/models/{}"),
        ("/api/models/{}?expand=sha", "/api/models/{}?expand=sha"),
        ("/api/models/{}/refs", "/api/models/{}/refs"),
        ("/api/models/{}/revision/main", "/api/models/{}/revision/main"),
        ("/api/models/{}/commits/main", "/api/models/{}/commits/main"),
        ("/api/models/{}/tree/main/onnx/deep", "/api/models/{}/tree/main/onnx/deep"),
        ("/{}/resolve/main/onnx/config.json", "/{}/resolve/main/onnx/config.json"),
    ],
)
def test_a_bare_legacy_name_leads_to_the_present_one(
    hub: HubServer, hub_folder: Path, asked: str, location: str
) -> None:
    sidecar(hub_folder / BASE, former_names=["bert-base-uncased"])
    for name in ("bert-base-uncased", "BERT-base-uncased", "bert%2Dbase-uncased"):
        reply = httpx2.get(hub.url + asked.format(name))
        assert (reply.status_code, reply.headers["location"]) == (307, location.format(BASE))
        assert httpx2.get(hub.url + reply.headers["location"], follow_redirects=True).status_code == 200


def test_the_real_client_follows_a_bare_name(hub: HubServer, api: HfApi, hub_folder: Path, tmp_path: Path) -> None:
    sidecar(hub_folder / BASE, former_names=["gpt2"])
    assert api.model_info("gpt2").id == BASE
    assert [file.path for file in api.get_paths_info("gpt2", ["config.json"])] == ["config.json"]
    assert hf_hub_download("gpt2", "config.json", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert httpx2.get(f"{hub.url}/api/models/gpt3").status_code == 401
    assert httpx2.get(f"{hub.url}/gpt3/resolve/main/config.json").status_code == 401


def test_two_repositories_can_swap_their_names(hub: HubServer, hub_folder: Path) -> None:
    names = (BASE, "acme/child")
    before = {name: httpx2.get(f"{hub.url}/api/models/{name}").json() for name in names}
    rename(hub_folder, BASE, "acme/aside")
    rename(hub_folder, "acme/child", BASE)
    rename(hub_folder, "acme/aside", "acme/child")
    after = {name: httpx2.get(f"{hub.url}/api/models/{name}").json() for name in names}
    for old, new in (names, names[::-1]):
        assert [after[new][key] for key in ("_id", "sha")] == [before[old][key] for key in ("_id", "sha")]
    assert httpx2.get(f"{hub.url}/api/models/acme/aside").headers["location"] == "/api/models/acme/child"


def test_files_of_one_size_and_moment_are_told_apart_when_names_are_swapped(hub: HubServer, hub_folder: Path) -> None:
    for name, content in (("lab/one", b"1"), ("lab/two", b"2")):
        (hub_folder / name).mkdir()
        (hub_folder / name / "model.bin").write_bytes(content)
    hashes = [httpx2.get(f"{hub.url}/api/models/lab/{name}?blobs=true").json() for name in ("one", "two")]
    (hub_folder / "lab/one").rename(hub_folder / "lab/aside")
    (hub_folder / "lab/two").rename(hub_folder / "lab/one")
    (hub_folder / "lab/aside").rename(hub_folder / "lab/two")
    swapped = [httpx2.get(f"{hub.url}/api/models/lab/{name}?blobs=true").json() for name in ("two", "one")]
    assert [row["siblings"] for row in swapped] == [row["siblings"] for row in hashes]


def test_what_is_deleted_or_made_private_is_401_and_no_longer_listed(hub: HubServer, hub_folder: Path) -> None:
    shutil.rmtree(hub_folder / BASE)
    sidecar(hub_folder / "acme/child", private=True, former_names=["acme/kid"])
    for name in (BASE, "acme/child", "acme/kid"):
        reply = httpx2.get(f"{hub.url}/api/models/{name}")
        assert (reply.status_code, "x-error-code" in reply.headers) == (401, False)
    listed = [row["id"] for row in httpx2.get(f"{hub.url}/api/models").json()]
    assert not {BASE, "acme/child"} & set(listed)


def test_a_repository_can_be_gated_and_disabled_later(hub: HubServer, hub_folder: Path) -> None:
    address = f"{hub.url}/{BASE}/resolve/main/config.json"
    assert httpx2.head(address).status_code == 307
    sidecar(hub_folder / BASE, gated="manual")
    assert httpx2.head(address).headers["x-error-code"] == "GatedRepo"
    sidecar(hub_folder / BASE, gated=False, disabled=True)
    assert httpx2.head(address).status_code == 403
    assert httpx2.get(f"{hub.url}/api/models/{BASE}").json()["disabled"] is True


def test_older_commits_are_listed_after_the_present_one(hub: HubServer, api: HfApi, hub_folder: Path) -> None:
    older = [
        {"title": "Update README.md", "date": "2023-01-15T00:00:00Z", "sha": "b" * 40},
        {"title": "Duplicate from openai/gpt", "date": "2023-01-01T10:00:00Z"},
    ]
    sidecar(hub_folder / BASE, commits=older, commit_title="Add weights")
    commits = api.list_repo_commits(BASE)
    assert [commit.title for commit in commits] == ["Add weights", "Update README.md", "Duplicate from openai/gpt"]
    assert commits[0].commit_id == api.model_info(BASE).sha
    assert commits[1].commit_id == "b" * 40
    assert len({commit.commit_id for commit in commits}) == 3
    assert [commit.title for commit in api.list_repo_commits(BASE, revision="b" * 40)] == [
        commit.title for commit in commits[1:]
    ]
    first = httpx2.get(f"{hub.url}/api/models/{BASE}/commits/main?limit=2")
    assert (len(first.json()), first.headers["x-total-count"]) == (2, "3")
    assert [row["title"] for row in httpx2.get(first.links["next"]["url"]).json()] == [commits[2].title]
    assert httpx2.get(f"{hub.url}/api/models/{BASE}/commits/{'c' * 40}").status_code == 404
    assert httpx2.get(f"{hub.url}/{BASE}/resolve/{'b' * 40}/config.json").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"hub_id": "xyz"},
        {"hub_id": 3},
        {"former_names": "acme/x"},
        {"former_names": ["../x"]},
        {"former_names": [3]},
        {"commits": ["first"]},
        {"commits": [{"title": "no date"}]},
        {"commits": [{"date": "2023-01-01", "sha": "short"}]},
        {"xet": "yes"},
    ],
)
def test_a_life_that_cannot_be_understood_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        parse_sidecar(json.dumps(fields).encode())
