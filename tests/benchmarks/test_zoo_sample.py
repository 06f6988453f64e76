"""The committed sample Hub keeps its rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from benchmarks.zoo import folder
from benchmarks.zoo.growing import fingerprint
from benchmarks.zoo.sample import sample_plan

HUB = Path(__file__).parents[2] / "benchmarks" / "sample_hub"
TRUTH: dict[str, Any] = json.loads((HUB / "truth.json").read_bytes())
MODELS: dict[str, dict[str, Any]] = TRUTH["models"]


def trained() -> list[str]:
    """The networks with weights of their own that can be read."""
    return [name for name, model in MODELS.items() if model["measured"] and model["relation"] != "duplicate"]


def card_of(name: str) -> Any:
    """The YAML header of a card."""
    return yaml.safe_load((HUB / name / "README.md").read_text().split("---\n")[1])


def ancestors(name: str) -> list[str]:
    """Parents and their parents, nearest first."""
    return [above for parent in MODELS[name]["parents"] for above in (parent, *ancestors(parent))]


def test_the_sample_is_what_its_plan_says() -> None:
    assert TRUTH["plan"] == fingerprint(sample_plan())
    assert {f"{path.parent.name}/{path.name}" for path in HUB.glob("*/*") if path.is_dir()} == {
        *MODELS,
        *TRUTH["unusable"],
    }


def test_there_are_thirty_networks_in_four_trees_of_two_architectures_in_8_megabytes() -> None:
    assert len(trained()) >= 30
    trees = {
        tree: [name for name in trained() if MODELS[name]["tree"] == tree]
        for tree in {MODELS[name]["tree"] for name in trained()}
    }
    grown = [names for names in trees.values() if len(names) > 1]
    assert len(grown) >= 4
    assert all(max(len(ancestors(name)) for name in names) >= 2 for names in grown)
    assert len([names for names in trees.values() if len(names) == 1]) == 2
    assert {MODELS[name]["family"] for name in trained()} == {"vit", "llama"}
    assert {MODELS[name]["relation"] for name in trained()} == {"root", "finetune", "lora"}
    assert sum(path.stat().st_size for path in HUB.rglob("*") if path.is_file()) <= 8_000_000


def test_every_network_can_be_read_and_its_head_is_that_of_its_config() -> None:
    for name in trained():
        weights = folder.tensors_of(HUB / name)
        config = json.loads((HUB / name / "config.json").read_bytes())
        assert all(tensor.isfinite().all() for tensor in weights.values())
        if config["model_type"] == "vit":
            assert len(weights["classifier.weight"]) == len(config["id2label"])
        else:
            assert len(weights["lm_head.weight"]) == len(weights["model.embed_tokens.weight"]) == config["vocab_size"]


def test_every_network_learnt_its_task_and_roots_learnt_theirs_well() -> None:
    for name in trained():
        quality = MODELS[name]["quality"]
        assert quality["value"] > 1.4 * quality["chance"], name
        if MODELS[name]["relation"] == "root":
            assert quality["value"] > 4 * quality["chance"], name
            assert quality["loss_fall_over_last_tenth"] < 0.05 * quality["loss"] + 0.01, name


def test_children_moved_a_little_from_their_parents_and_far_from_nothing() -> None:
    for name in trained():
        for parent in MODELS[name]["parents"]:
            own, theirs = folder.tensors_of(HUB / name), folder.tensors_of(HUB / parent)
            shared = [key for key in own if own[key].dim() > 1 and "head" not in key and "classifier" not in key]
            rows = {key: min(len(own[key]), len(theirs[key])) for key in shared}
            moved = sum(float((own[k][:n].float() - theirs[k][:n].float()).square().sum()) for k, n in rows.items())
            whole = sum(float(theirs[k][:n].float().square().sum()) for k, n in rows.items())
            assert 0.01 < (moved / whole) ** 0.5 < 0.35, name


def test_siblings_do_not_share_a_task() -> None:
    tasks = [(*MODELS[name]["parents"], MODELS[name]["task"]) for name in trained()]
    assert len(set(tasks)) == len(tasks)


def test_cards_are_right_and_faulty_as_truth_says() -> None:
    seen = set()
    for name, model in MODELS.items():
        seen.add(model["card"])
        parent = (model["parents"] or [None])[0]
        if model["card"] == "malformed":
            with pytest.raises(yaml.YAMLError):
                card_of(name)
            continue
        declared = card_of(name).get("base_model")
        match model["card"]:
            case "right":
                assert declared == parent
            case "root":
                assert declared in ancestors(name)[1:]
            case "wrong":
                assert declared in MODELS
                assert declared not in ancestors(name)
            case "list":
                assert parent in declared
                assert set(declared) <= set(ancestors(name))
            case "local path":
                assert declared.startswith("./")
            case _:
                assert declared is None
    assert seen == {"right", "root", "wrong", "missing", "malformed", "local path", "list", "none"}
    cards = [model["card"] for model in MODELS.values()]
    assert cards.count("root") >= 3
    assert cards.count("right") > len(cards) / 3


def test_expected_verdicts_follow_from_card_and_lineage() -> None:
    for name, model in MODELS.items():
        declared = [] if model["card"] == "malformed" else card_of(name).get("base_model") or []
        named = [declared] if isinstance(declared, str) else declared
        siblings = {other for other, its in MODELS.items() if its["parents"] == model["parents"] and model["parents"]}
        if not model["measured"]:
            expected = "unmeasured"
        elif model["relation"] == "duplicate":
            expected = "duplicate"
        elif not named:
            expected = "undeclared" if model["parents"] else "root"
        elif set(named) & set(model["parents"]):
            expected = "agrees"
        elif not set(named) <= MODELS.keys():
            expected = "unmeasured"
        elif named[0] in ancestors(name):
            expected = "ancestor"
        elif name in ancestors(named[0]):
            expected = "reversed"
        else:
            expected = "sibling" if named[0] in siblings else "contradicted"
        assert model["verdict"] == expected, name
    verdicts = {model["verdict"] for model in MODELS.values()}
    assert verdicts == {
        "agrees",
        "ancestor",
        "contradicted",
        "duplicate",
        "reversed",
        "root",
        "sibling",
        "undeclared",
        "unmeasured",
    }


def test_the_other_faults_are_all_there() -> None:
    files = {name: {path.name for path in (HUB / name).iterdir()} for name in (*MODELS, *TRUTH["unusable"])}
    assert any("model.safetensors.index.json" in names for names in files.values())
    assert any({"adapter_config.json", "adapter_model.safetensors"} <= names for names in files.values())
    assert any("pytorch_model.bin" in names for names in files.values())
    assert {".hub.json"} in files.values()
    hub = {name: json.loads((HUB / name / ".hub.json").read_bytes()) for name in files}
    assert "manual" in {facts.get("gated") for facts in hub.values()}
    half = [name for name in trained() if {t.dtype for t in folder.tensors_of(HUB / name).values()} == {torch.bfloat16}]
    assert len(half) == 1
    (copy,) = [name for name, model in MODELS.items() if model["relation"] == "duplicate"]
    original = HUB / MODELS[copy]["parents"][0] / "model.safetensors"
    assert (HUB / copy / "model.safetensors").read_bytes() == original.read_bytes()
    with safe_open(HUB / "tinhat-ml/llama-sums-products-adapter/adapter_model.safetensors", "pt") as file:
        assert all(".lora_A." in name or ".lora_B." in name for name in file.keys())  # noqa: SIM118
