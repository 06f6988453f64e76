"""Looking at a large folder: whatever changes is seen, and what did not is not read again."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from hublineage.hub import folder as folder_module
from hublineage.hub.folder import Folder
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteModel


@pytest.fixture
def root(write_model: WriteModel, tmp_path: Path) -> Path:
    for number in range(4):
        write_model(f"org/m{number}", {"config.json": "{}", "onnx/a.json": "{}"}, created_at=f"2024-01-0{number + 1}")
    time.sleep(0.06)  # what is younger is looked at anew
    return tmp_path / "hub"


def test_a_folder_that_does_not_change_is_one_snapshot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(root)
    first = folder.snapshot()
    monkeypatch.setattr(folder_module, "scan", None)
    monkeypatch.setattr(folder_module, "read_sidecar", None)
    assert folder.snapshot() is first
    assert folder.find("org/m1") is first.by_name["org/m1"]


def test_every_change_is_in_the_next_snapshot(root: Path) -> None:
    folder = Folder(root)
    seen = [folder.snapshot()]

    def changed() -> bool:
        seen.append(folder.snapshot())
        return seen[-1] is not seen[-2]

    (root / "org/m0/config.json").write_text("[]")
    assert changed()
    assert folder.revision(seen[-1].by_name["org/m0"]) != folder.revision(seen[-1].by_name["org/m1"])
    (root / "org/m1/.hub.json").write_text(json.dumps({"likes": 3}))
    assert changed()
    assert seen[-1].by_name["org/m1"].sidecar.likes == 3
    (root / "org/m1/.hub.json").unlink()
    assert changed()
    (root / "org/m2/onnx/b.json").write_text("{}")
    assert changed()
    assert len(seen[-1].by_name["org/m2"].files) == 3
    shutil.rmtree(root / "org/m3")
    assert changed()
    assert "org/m3" not in seen[-1].by_name
    (root / "new").mkdir()
    (root / "org/m2").rename(root / "new/m2")
    assert changed()
    assert sorted(seen[-1].by_name) == ["new/m2", "org/m0", "org/m1"]


def test_a_file_replaced_under_its_old_size_and_time_is_seen(root: Path) -> None:
    folder, path = Folder(root), root / "org/m0/config.json"
    before = folder.snapshot().by_name["org/m0"]
    sha = folder.revision(before).sha
    times = path.stat()
    other = path.with_name("other.json")
    other.write_text("[]")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    after = folder.snapshot().by_name["org/m0"]
    assert folder.revision(after).sha != sha


def test_changes_within_one_tick_of_the_clock_are_seen(root: Path) -> None:
    folder, path = Folder(root), root / "org/m0/.hub.json"
    for likes in range(1, 60):
        path.write_text(json.dumps({"likes": likes % 10}))
        assert folder.snapshot().by_name["org/m0"].sidecar.likes == likes % 10


def test_a_link_is_looked_at_each_time(root: Path, tmp_path: Path) -> None:
    (root / "org/m0/linked.json").symlink_to(root / "org/m1/config.json")
    (root / "org/m1/config.json").write_text("{}")
    time.sleep(0.06)
    folder = Folder(root)
    assert "linked.json" in folder.snapshot().by_name["org/m0"].by_path
    (root / "org/m1/config.json").unlink()
    assert "linked.json" not in folder.snapshot().by_name["org/m0"].by_path


def test_pages_after_the_first_may_be_a_little_old_where_looking_is_slow(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(root)
    folder.snapshot()
    monkeypatch.setattr(folder, "_look_takes", 1.0)
    (root / "org/m9").mkdir()
    assert "org/m9" not in folder.snapshot(may_be_old=True).by_name
    assert "org/m9" in folder.snapshot().by_name


def test_rows_with_equal_times_are_paged_without_loss(root: Path, write_model: WriteModel) -> None:
    for number in range(9):
        write_model(f"tie/t{number}", created_at="2024-01-02", last_modified="2024-05-05")
    with HubServer(root) as hub, httpx2.Client(base_url=hub.url) as client:
        for query in ("sort=createdAt&direction=1", "sort=lastModified&direction=-1", "sort=likes"):
            whole = [(row["id"], row["_id"]) for row in client.get(f"/api/models?{query}&full=true").json()]
            paged: list[tuple[str, str]] = []
            url: str | None = f"/api/models?{query}&limit=2"
            while url:
                reply = client.get(url)
                paged += [(row["id"], row["_id"]) for row in reply.json()]
                url = reply.links.get("next", {}).get("url")
            assert paged == whole
            tied = [hub_id for name, hub_id in whole if name.startswith("tie/")]
            assert tied == sorted(tied)
