"""Information, trees, paths, refs and commits of one model, and the errors, through the real client."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

    from hublineage.hub.server import HubServer

BASE = "acme/Base-ViT"


def test_information_carries_sizes_and_hashes_of_files(api: HfApi, hub_folder: Path) -> None:
    info = api.model_info(BASE, files_metadata=True)
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    content = (hub_folder / BASE / "model.safetensors").read_bytes()
    weights = files["model.safetensors"]
    assert weights.size == len(content)
    assert weights.lfs is not None
    assert weights.lfs.sha256 == hashlib.sha256(content).hexdigest()
    assert weights.lfs.size == len(content)
    config = (hub_folder / BASE / "config.json").read_bytes()
    assert files["config.json"].lfs is None
    assert files["config.json"].blob_id == hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest()  # noqa: S324
    assert ".hub.json" not in files
    assert info.safetensors == {"parameters": {"F32": 640, "F16": 3}, "total": 643}
    assert info.created_at is not None
    assert info.created_at.isoformat() == "2023-01-01T10:00:00+00:00"
    assert (info.likes, info.downloads, info.library_name) == (7, 100, "transformers")


def test_information_without_blobs_names_files_only(hub: HubServer) -> None:
    row = httpx2.get(f"{hub.url}/api/models/{BASE}").json()
    assert set(row["siblings"][0]) == {"rfilename"}
    assert row["model-index"] is None
    assert row["gated"] is False
    assert row["disabled"] is False
    assert row["modelId"] == row["id"] == BASE


def test_expand_gives_parents_and_the_count_of_children(api: HfApi) -> None:
    children: Any = api.model_info(BASE, expand=["childrenModelCount"]).children_model_count  # typed int there
    assert children == {
        "adapter": 0, "finetune": 1, "merge": 0, "quantized": 0,
    }  # fmt: skip
    parents = api.model_info("lab/adapter", expand=["baseModels", "config", "tags"])
    base_models: Any = parents.base_models  # the client's type hint says list
    assert base_models["relation"] == "adapter"
    assert [model["id"] for model in base_models["models"]] == [BASE]
    assert parents.config == {"peft": {"base_model_name_or_path": BASE, "task_type": "IMAGE"}}
    assert "base_model:adapter:./local/path" in (parents.tags or [])
    with pytest.raises(BadRequestError, match="childrenModelCount"):
        api.model_info(BASE, expand=["nonsense"])  # type: ignore[list-item]


def test_a_revision_is_answered_by_its_sha_until_the_content_changes(api: HfApi, hub_folder: Path) -> None:
    sha = api.model_info("acme/child").sha
    assert sha
    assert api.model_info("acme/child", revision=sha).sha == sha
    assert api.model_info("acme/child", revision="main").sha == sha
    (hub_folder / "acme/child/new.txt").write_text("more")
    renewed = api.model_info("acme/child").sha
    assert renewed != sha
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/child", revision=sha)
    (hub_folder / "acme/child/new.txt").unlink()
    assert api.model_info("acme/child").sha == sha


def test_equal_content_under_another_name_is_another_revision(api: HfApi, hub_folder: Path) -> None:
    for name in ("copies/one", "copies/two"):
        (hub_folder / name).mkdir(parents=True)
        (hub_folder / name / "config.json").write_text("{}")
    one, two = (api.model_info(name, files_metadata=True) for name in ("copies/one", "copies/two"))
    assert one.sha != two.sha
    assert one.siblings == two.siblings


def test_the_tree_lists_folders_first_and_recurses(api: HfApi) -> None:
    top = list(api.list_repo_tree(BASE))
    assert [entry.path for entry in top] == ["onnx", "README.md", "config.json", "model.safetensors"]
    assert isinstance(top[0], RepoFolder)
    whole = list(api.list_repo_tree(BASE, recursive=True, expand=True))
    assert {entry.path for entry in whole} >= {"onnx/deep", "onnx/deep/model.onnx", "onnx/config.json"}
    weights = next(entry for entry in whole if entry.path == "model.safetensors")
    assert isinstance(weights, RepoFile)
    assert weights.lfs is not None
    assert weights.last_commit is not None
    assert weights.last_commit["title"] == "Duplicate from elsewhere/base"
    assert [entry.path for entry in api.list_repo_tree(BASE, "onnx")] == ["onnx/deep", "onnx/config.json"]
    assert list(api.list_repo_tree("lab/empty")) == []
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(BASE, "nowhere"))


def test_the_pages_of_a_tree_join(api: HfApi, hub_folder: Path, hub: HubServer) -> None:
    for number in range(230):
        (hub_folder / "lab/empty" / f"f{number:03d}.txt").write_text("x")
    assert len(list(api.list_repo_tree("lab/empty", expand=True))) == 230
    first = httpx2.get(f"{hub.url}/api/models/lab/empty/tree/main?expand=true")
    assert len(first.json()) == 100
    assert "cursor=" in first.links["next"]["url"]


def test_ids_of_blobs_and_folders_are_those_of_git(api: HfApi, hub_folder: Path, tmp_path: Path) -> None:
    folder = hub_folder / "lab/plain"
    for path in ("a.txt", "a/b.txt", "a-b/ü.txt", "a/c/d.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    git = ["git", f"--git-dir={tmp_path / 'git'}", f"--work-tree={folder}"]
    subprocess.run([*git[:2], "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    tree = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True).stdout.strip()
    listed = subprocess.run(
        [*git, "ls-tree", "-r", "-t", "-z", tree], check=True, capture_output=True, text=True
    ).stdout
    expected = {line.split("\t")[1]: line.split()[2] for line in listed.strip("\0").split("\0")}
    entries = api.list_repo_tree("lab/plain", recursive=True)
    assert {e.path: e.blob_id if isinstance(e, RepoFile) else e.tree_id for e in entries} == expected


def test_missing_paths_are_left_out_of_paths_info(api: HfApi, hub: HubServer) -> None:
    found = api.get_paths_info(BASE, ["config.json", "nowhere.txt", "onnx", "../child/config.json"], expand=True)
    assert [entry.path for entry in found] == ["config.json", "onnx"]
    address = f"{hub.url}/api/models/{BASE}/paths-info/main"
    assert [row["type"] for row in httpx2.post(address, json={"paths": ["onnx", "model.safetensors"]}).json()] == [
        "directory",
        "file",
    ]
    assert httpx2.post(address, content=b"[]", headers={"content-type": "application/json"}).status_code == 400
    assert httpx2.post(address, json={"paths": [1]}).status_code == 400


def test_refs_and_commits_name_the_one_revision(api: HfApi, hub: HubServer) -> None:
    sha = api.model_info(BASE).sha
    assert [(branch.name, branch.target_commit) for branch in api.list_repo_refs(BASE).branches] == [("main", sha)]
    commits = api.list_repo_commits(BASE, formatted=True)
    assert [(c.commit_id, c.title, c.authors) for c in commits] == [(sha, "Duplicate from elsewhere/base", ["acme"])]
    assert httpx2.get(f"{hub.url}/api/models/{BASE}/commits/main").headers["x-total-count"] == "1"


def test_a_missing_repository_is_401_without_a_code_and_404_with_a_token(api: HfApi, hub: HubServer) -> None:
    for name in ("acme/nothing", "lab/private", "nobody/nothing"):
        reply = httpx2.get(f"{hub.url}/api/models/{name}")
        assert reply.status_code == 401
        assert "x-error-code" not in reply.headers
        assert reply.json() == {"error": "Invalid username or password."}
    with pytest.raises(HfHubHTTPError, match="401"):
        api.model_info("acme/nothing")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/nothing", token="hf_member")
    assert api.model_info("lab/private", token="hf_member").private


def test_a_name_in_the_wrong_case_redirects_to_the_right_one(api: HfApi, hub: HubServer) -> None:
    reply = httpx2.get(f"{hub.url}/api/models/Acme/base-vit?blobs=true")
    assert reply.status_code == 307
    assert reply.headers["location"] == f"/api/models/{BASE}?blobs=true"
    assert api.model_info("Acme/base-vit").id == BASE
    assert httpx2.get(f"{hub.url}/api/models/lab/PRIVATE").status_code == 401


def test_a_disabled_repository_tells_nothing_but_that(api: HfApi) -> None:
    assert api.model_info("lab/disabled").disabled
    with pytest.raises(DisabledRepoError):
        list(api.list_repo_tree("lab/disabled"))
    with pytest.raises(DisabledRepoError):
        api.list_repo_commits("lab/disabled")


def test_gated_repositories_tell_their_information(api: HfApi) -> None:
    info = api.model_info("lab/gated", files_metadata=True)
    assert info.gated == "auto"
    assert info.siblings
    assert info.siblings[0].lfs


def test_error_messages_with_any_letters_are_valid_headers(hub: HubServer) -> None:
    reply = httpx2.get(f"{hub.url}/api/models/{BASE}/revision/tab%09%0Bü")
    assert reply.status_code == 404
    assert reply.headers["x-error-code"] == "RevisionNotFound"
    assert reply.headers["x-error-message"] == "Invalid rev id: tab???"
    assert reply.json()["error"] == "Invalid rev id: tab\t\vü"
