"""Bad models are each named with what is wrong, and cost the others nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from commands import Command, NewDatabase
from safetensors.numpy import save
from small_models import (
    LINEAGE,
    TRUE_EDGES,
    Tensors,
    card,
    lineage,
    pretrained,
    raw_safetensors,
    trained_on,
    write_lineage,
    write_model,
)

import crawler.hub
from crawler.retry import Policy
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

OAK = {name for name in LINEAGE if name.startswith("oak")}


def undirected(result: Any) -> set[frozenset[str]]:
    found = [edge for family in result["families"] for tree in family["trees"] for edge in tree["edges"]]
    return {frozenset((edge["parent"], edge["child"])) for edge in found}


def tensor(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def spoilt(child: Tensors, name: str, value: float) -> Tensors:
    """The tensors with one number replaced."""
    values = child[name].copy()
    values.flat[7] = value
    return {**child, name: values}


# model -> (file, tensor, what the reason says); a model's weights may be of use in spite of its failure
FAILURES: dict[str, tuple[str | None, str | None, str]] = {
    "bad/truncated": ("model.safetensors", "embed.weight", "truncated"),
    "bad/header-beyond-the-end": ("model.safetensors", None, "expected at most"),
    "bad/header-is-no-json": ("model.safetensors", None, "not JSON"),
    "bad/empty-file": ("model.safetensors", None, "has 0 bytes"),
    "bad/overlap": ("model.safetensors", "b.weight", "overlaps"),
    "bad/out-of-range": ("model.safetensors", "a.weight", "out of range"),
    "bad/shape": ("model.safetensors", "a.weight", "is 24 bytes, data_offsets hold 16 bytes"),
    "bad/dtype": ("model.safetensors", "a.weight", "expected one of"),
    "bad/long-name": ("model.safetensors", "x", "at most 1000 bytes"),
    "bad/nan": ("model.safetensors", "blocks.1.mlp.weight", "NaN, infinity or numbers beyond"),
    "bad/infinity": ("model.safetensors", "embed.weight", "NaN, infinity or numbers beyond"),
    "bad/huge": ("model.safetensors", "blocks.0.attention.weight", "beyond 1e60"),
    "bad/missing-shard": ("model-00002-of-00002.safetensors", None, "does not hold"),
    "bad/int8": ("model.safetensors", "blocks.0.attention.weight", "stored as I8"),
    "bad/index": ("model.safetensors.index.json", None, "not JSON"),
    "bad/nothing": (None, None, "holds no weights"),
    "bad/folder-for-a-file": (None, None, "holds no weights"),
    "bad/pickle": (None, None, "pytorch_model.bin"),
    "bad/loop": (None, None, "holds no weights"),
    "bad/adapter": ("adapter_config.json", None, "no JSON"),
    "good/big-card": ("README.md", None, "50000000 bytes, expected at most"),
    "good/malformed-card": ("README.md", None, ""),
    "good/config": ("config.json", None, "no JSON"),
}
UNUSUAL = ("we ird/mödel-名 前", "a'b\";--/%s [bold]x[bold] {0}", "UPPER/lower")


def write_bad(root: Path) -> None:
    """All of FAILURES, and good models beside them that are unusual in some way."""
    weights = lineage()
    whole = save(trained_on(weights["oak/root"], 1))
    two = raw_safetensors({"a.weight": tensor([4], 0, 16), "b.weight": tensor([4], 8, 24)}, bytes(24))
    files: dict[str, bytes] = {
        "bad/truncated": whole[:-200],
        "bad/header-beyond-the-end": raw_safetensors({}, bytes(10), length=5000),
        "bad/header-is-no-json": raw_safetensors(b"{not json"),
        "bad/empty-file": b"",
        "bad/overlap": two,
        "bad/out-of-range": raw_safetensors({"a.weight": tensor([2, 3], 0, 24)}, bytes(8)),
        "bad/shape": raw_safetensors({"a.weight": tensor([2, 3], 0, 16)}, bytes(16)),
        "bad/dtype": raw_safetensors({"a.weight": tensor([2, 3], 0, 24, "F33")}, bytes(24)),
        "bad/long-name": raw_safetensors({"x" * 1200: tensor([2, 3], 0, 24)}, bytes(24)),
        "bad/int8": save({name: np.ones(values.shape, np.int8) for name, values in weights["oak/root"].items()}),
    }
    for name, content in files.items():
        write_model(root, name, None, {"model.safetensors": content})
    broken = trained_on(weights["oak/root"], 2)
    write_model(root, "bad/nan", spoilt(broken, "blocks.1.mlp.weight", np.nan))
    write_model(root, "bad/infinity", spoilt(trained_on(weights["oak/left"], 3), "embed.weight", -np.inf))
    index = {
        "weight_map": {"embed.weight": "model-00001-of-00002.safetensors", "x": "model-00002-of-00002.safetensors"}
    }
    shards = {"model-00001-of-00002.safetensors": whole, "model.safetensors.index.json": json.dumps(index)}
    write_model(root, "bad/missing-shard", None, shards)
    write_model(
        root, "bad/index", None, {"model.safetensors.index.json": "[1,", "model-00001-of-00001.safetensors": "x"}
    )
    write_model(root, "bad/nothing")
    write_model(root, "bad/pickle", None, {"pytorch_model.bin": b"\x80"})
    (write_model(root, "bad/folder-for-a-file") / "model.safetensors").mkdir()
    loop = write_model(root, "bad/loop")
    (loop / "model.safetensors").symlink_to("model.safetensors")
    (loop / "around").symlink_to(loop)
    (root / "itself").symlink_to(root / "itself")
    adapter = {"base_model.model.blocks.0.attention.lora_A.weight": np.ones((2, 24), np.float32)}
    write_model(root, "bad/adapter", None, {"adapter_model.safetensors": save(adapter), "adapter_config.json": "{"})

    child = partial(trained_on, weights["elm/root"])
    big = write_model(root, "good/big-card", child(10), {"README.md": "---\nlicense: mit\n---\n"})
    os.truncate(big / "README.md", 50_000_000)
    write_model(root, "good/malformed-card", child(11), {"README.md": "---\nbase_model: [elm/root\nx: {\n---\n"})
    write_model(root, "good/config", child(12), {"config.json": "{"})
    odd: Tensors = {"nothing.weight": np.zeros((0, 24), np.float32), "scale": np.float32(3)}  # type: ignore[dict-item]
    write_model(
        root, "good/empty-and-scalar", {**child(13), **{name: np.asarray(value) for name, value in odd.items()}}
    )
    write_model(root, "good/child-of-nan", trained_on(broken, 14))
    zeros = {name: np.zeros_like(values) for name, values in pretrained(0).items()}
    write_model(root, "good/zeros", zeros)
    write_model(root, "good/zeros-too", {name: values.astype(np.float16) for name, values in zeros.items()})
    write_model(root, "good/constant", {name: values + 1 for name, values in zeros.items()})
    huge = {name: np.full(values.shape, 1e300) * np.sign(values + 1e-9) for name, values in pretrained(7).items()}
    write_model(root, "bad/huge", huge)
    write_model(root, "good/single", {"only.weight": pretrained(8)["embed.weight"]})
    for number, name in enumerate(UNUSUAL):
        write_model(root, name, child(20 + number), {"README.md": card("elm/root")})


@pytest.fixture(scope="module")
def spoiled(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, Path, Any]:
    """The command after one run over good and bad models, their folder, and the result."""
    folder = write_lineage(tmp_path_factory.mktemp("spoiled"))
    write_bad(folder)
    command = Command(new_database())
    answer = command("run", "--folder", folder, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    return command, folder, answer.json


def test_every_bad_model_is_named_with_file_tensor_and_what_was_expected(spoiled: tuple[Command, Path, Any]) -> None:
    command, _, result = spoiled
    found = {row["model"]: row for row in result["failures"]}
    assert len(found) == len(result["failures"])
    assert set(found) == set(FAILURES)
    for model, (file, name, said) in FAILURES.items():
        row = found[model]
        assert row["file"] == file, row
        if name is not None or file is None:
            assert (row["tensor"] or "").startswith(name or ""), row
        assert said in row["reason"], row
        assert "\n" not in row["reason"], row
        assert len(row["reason"]) < 500, row
    assert command("status", "--json").json["sources"][0]["failures"] == result["failures"]


def test_all_the_others_are_still_inferred(spoiled: tuple[Command, Path, Any]) -> None:
    result = spoiled[2]
    assert undirected(result) >= {frozenset(edge) for edge in TRUE_EDGES}
    placed = {model for family in result["families"] for model in family["models"]}
    good = {row["model"] for row in result["verdicts"]} - {name for name in FAILURES if name.startswith("bad")}
    assert placed == good
    together = next(
        set(tree["models"]) for family in result["families"] for tree in family["trees"] if "elm/root" in tree["models"]
    )
    assert together >= {"good/big-card", "good/malformed-card", "good/config", "good/empty-and-scalar", *UNUSUAL}
    # Not the middle of the tree, which was lost, but the tree.
    assert any("good/child-of-nan" in edge and edge & OAK for edge in undirected(result))
    assert ["good/zeros", "good/zeros-too"] in result["duplicates"]
    alone = {tree["models"][0] for family in result["families"] for tree in family["trees"] if len(tree["models"]) == 1}
    assert alone >= {"good/constant", "good/single"}


def test_a_bad_model_is_unmeasured_for_the_reason_that_it_failed(spoiled: tuple[Command, Path, Any]) -> None:
    verdicts = {row["model"]: row for row in spoiled[2]["verdicts"]}
    assert verdicts["bad/nan"]["verdict"] == "unmeasured"
    assert "NaN, infinity or numbers beyond" in verdicts["bad/nan"]["why"]
    assert "truncated" in verdicts["bad/truncated"]["why"]


def test_the_papers_method_and_the_words_for_people_bear_them_too(spoiled: tuple[Command, Path, Any]) -> None:
    command, folder, result = spoiled
    answer = command("run", "--folder", folder, "--method", "mother")
    assert answer.code == 0, answer.err
    for name in UNUSUAL:
        assert name in answer.out
    for arguments in (["status"], ["show", UNUSUAL[1]], ["tree", UNUSUAL[1]], ["show", "bad/nan"], ["compare"]):
        shown = command(*arguments)
        assert shown.code == 0, shown.err
    assert command("run", "--folder", folder, "--json", "--weights-only").json == result


def test_what_failed_for_good_is_tried_again_only_when_asked(spoiled: tuple[Command, Path, Any]) -> None:
    command, folder, result = spoiled
    attempts = "SELECT max(attempts), min(attempts) FROM failures WHERE resolved_at IS NULL AND stage = '{}'"
    stages = ("card", "describe", "measure")
    before = [command.rows(attempts.format(stage)) for stage in stages]
    command("run", "--folder", folder, "--json", "--weights-only")
    assert [command.rows(attempts.format(stage)) for stage in stages] == before
    again = command("run", "--folder", folder, "--json", "--weights-only", "--retry-failed")
    assert again.json["failures"] == result["failures"]
    after = [command.rows(attempts.format(stage)) for stage in stages]
    assert [found[0][0] for found in after] == [found[0][0] + 1 for found in before]


def test_mended_models_lose_their_failures(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)
    weights = lineage()
    write_model(folder, "oak/left", spoilt(weights["oak/left"], "embed.weight", np.nan))
    (folder / "oak/right/model.safetensors").write_bytes(save(weights["oak/right"])[:-9])
    run = ("run", "--folder", folder, "--json", "--weights-only")
    assert {row["model"] for row in command(*run).json["failures"]} == {"oak/left", "oak/right"}
    write_model(folder, "oak/left", weights["oak/left"])
    write_model(folder, "oak/right", weights["oak/right"])
    mended = command(*run).json
    assert mended["failures"] == []
    assert undirected(mended) >= {frozenset(edge) for edge in TRUE_EDGES}
    assert command("status", "--json").json["sources"][0]["failures"] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_are_named(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)
    (folder / "oak/left/model.safetensors").chmod(0)
    (folder / "elm/other").chmod(0)
    answer = command("run", "--folder", folder, "--json")
    (folder / "elm/other").chmod(0o700)
    assert {row["model"] for row in answer.json["failures"]} == {"oak/left", "elm/other"}
    assert all("ermission denied" in row["reason"] for row in answer.json["failures"])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Faults, Path]]:
    """A Hub over the lineage, its faults, and its folder; nobody waits between tries."""
    monkeypatch.setattr(crawler.hub, "Policy", partial(Policy, sleep=lambda _: None))
    faults = Faults()
    folder = write_lineage(tmp_path / "hub")
    with HubServer(folder, faults=faults) as server:
        yield server.url, faults, folder
        huggingface_hub.close_session()


def test_a_server_that_ignores_ranges_is_found_out_while_describing(
    command: Command, hub: tuple[str, Faults, Path]
) -> None:
    address, faults, _ = hub
    run = ("run", "--endpoint", address, "--json", "--weights-only")
    faults.ignore_range("/cdn/oak/left/*")
    first = command(*run)
    assert first.code == 0, first.err
    (failure,) = first.json["failures"]
    assert (failure["model"], failure["file"]) == ("oak/left", "model.safetensors")
    assert "expected 206" in failure["reason"]
    faults.clear()
    assert command(*run).json == first.json
    assert not any("/oak/left/" in asked for asked in faults.asked)
    mended = command(*run, "--retry-failed").json
    assert mended["failures"] == []
    assert undirected(mended) >= {frozenset(edge) for edge in TRUE_EDGES}


def test_a_server_that_fails_while_measuring_loses_one_model_and_gets_it_back(
    command: Command, hub: tuple[str, Faults, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(
        crawler.hub.HubSource, "_sleep", lambda _self, seconds: waits.append(seconds)
    )  # all tries, no minute
    address, faults, _ = hub
    run = ("run", "--endpoint", address, "--json", "--weights-only")
    command("crawl", "--endpoint", address)
    faults.ignore_range("/cdn/oak/left/*")
    faults.status(500, "/cdn/elm/other/*", times=None)
    measured = command("measure", "--endpoint", address)
    assert measured.code == 0, measured.err
    (source,) = command("status", "--json").json["sources"]
    failures = {row["model"]: row for row in source["failures"]}
    assert set(failures) == {"oak/left", "elm/other"}
    assert set(waits) == {0.5, 1.0, 2.0, 4.0, 8.0}
    assert failures["oak/left"]["tensor"]
    assert "answers 500" in failures["elm/other"]["reason"]
    assert source["failures_by_reason"] == {"RangeNotHonoured": 1, "Transient": 1}
    faults.clear()
    # What failed for a passing reason is tried again by itself, the other when asked.
    assert {row["model"] for row in command(*run).json["failures"]} == {"oak/left"}
    mended = command(*run, "--retry-failed").json
    assert mended["failures"] == []
    assert undirected(mended) >= {frozenset(edge) for edge in TRUE_EDGES}


def test_bodies_that_are_cut_off_are_fetched_to_their_end(command: Command, hub: tuple[str, Faults, Path]) -> None:
    address, faults, _ = hub
    faults.cut_after(300, times=4)
    faults.status(503, "/api/models*", times=2)
    answer = command("run", "--endpoint", address, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    assert answer.json["failures"] == []
    assert undirected(answer.json) >= {frozenset(edge) for edge in TRUE_EDGES}


def test_a_model_that_was_known_and_is_gated_now_keeps_what_was_measured(
    command: Command, hub: tuple[str, Faults, Path]
) -> None:
    address, _, folder = hub
    run = ("run", "--endpoint", address, "--json", "--weights-only")
    (folder / "oak/left/README.md").write_text("---\nbase_model: [\n---\n")
    first = command(*run).json
    assert [row["file"] for row in first["failures"]] == ["README.md"]
    (folder / "oak/left/.hub.json").write_text(json.dumps({"gated": "manual"}))
    again = command(*run, "--retry-failed")
    assert again.code == 0, again.err
    assert again.json["families"] == first["families"]
    assert "gated" in json.dumps(again.json["failures"])


def test_explicit_ids_are_looked_up_each_time_and_carry_all_facts(
    command: Command, hub: tuple[str, Faults, Path]
) -> None:
    address, _, folder = hub
    sidecar = {"created_at": "2024-05-01T00:00:00Z", "downloads": 77, "tags": ["tiny"]}
    (folder / "oak/root/.hub.json").write_text(json.dumps(sidecar))
    run = ("run", "--endpoint", address, "--json", "--id", "oak/root", "--id", "oak/left", "--id", "no/body")
    first = command(*run).json
    assert [row["model"] for row in first["failures"]] == ["no/body"]
    facts = command("show", "oak/root", "--json").json["facts"]
    assert (facts["created"], facts["downloads"]) == ("2024-05-01T00:00:00+00:00", 77)
    write_model(folder, "oak/left", trained_on(lineage()["oak/root"], 5))
    command(*run)
    assert command.rows(
        "SELECT count(*) FROM revisions JOIN repositories r ON r.id = repository_id WHERE r.name = 'oak/left'"
    ) == [(2,)]


def test_a_source_whose_models_have_all_gone_answers_nothing(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path / "models")
    run = ("run", "--folder", folder, "--json", "--weights-only")
    command(*run)
    for organisation in ("oak", "elm", "fir"):
        shutil.rmtree(folder / organisation)
    answer = command(*run)
    assert answer.code == 3
    assert answer.json == {"families": [], "duplicates": [], "verdicts": [], "failures": []}
