"""`compare` and `licences` on the sample Hub: really trained networks with the faults of real repositories.

Its cards are given other licences, so that each tree has something to be found.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Command, NewDatabase, one_line
from huggingface_hub import ModelCard
from small_models import write_lineage

SAMPLE = Path(__file__).parents[2] / "benchmarks/sample_hub"
LICENCES = {
    "northlight/vit-tiny-shapes": "cc-by-nc-4.0",
    "mosslab/vit-micro-fields": "gemma",
    "quillworks/llama-nano-grammar": "llama3.1",
    "oxbow-lab/llama-pico-echo": "other\nlicense_name: house rules",
    "fernhollow/vit-tiny-digits": "cc-by-nc-sa-4.0",
}
Sample = tuple[Command, Path]


@pytest.fixture(scope="module")
def sample(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The command on the sample, inferred."""
    folder = tmp_path_factory.mktemp("sample") / "hub"
    shutil.copytree(SAMPLE, folder)
    for name, licence in LICENCES.items():
        card = folder / name / "README.md"
        card.write_text(re.sub(r"license: .*", f"license: {licence}", card.read_text(), count=1))
    command = Command(new_database())
    answer = command("run", "--folder", folder, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    return command, folder


def truth(folder: Path) -> dict[str, Any]:
    models: dict[str, Any] = json.loads((folder / "truth.json").read_text())["models"]
    return models


def test_every_verdict_is_as_the_truth_states_it(sample: Sample) -> None:
    command, folder = sample
    found = command("compare", "--json", "--truth", folder / "truth.json").json
    verdicts = {row["model"]: row["verdict"] for row in found["verdicts"]}
    assert {name: verdicts[name] for name in truth(folder)} == {
        name: row["verdict"] for name, row in truth(folder).items()
    }
    told = found["summary"]["all"]["truth"]
    assert (told["precision"], told["recall"], told["verdicts as stated"]) == (1, 1, 1)
    assert told["declared precision"] < told["precision"]
    for row in found["summary"]["organisation"]:
        assert sum(row["verdicts"].values()) == row["models"]


def test_the_table_shows_reasons_and_one_summary_where_it_is_asked_for(sample: Sample) -> None:
    command, _ = sample
    shown = command("compare", "--by", "architecture").out
    assert "LlamaForCausalLM" in shown
    assert "by organisation" not in shown
    assert "which is the" in shown
    answer = command("compare", "--by", "colour")
    assert answer.code == 2
    assert "organisation, architecture, relation" in one_line(answer)


def test_one_model_is_answered_with_its_reason(sample: Sample) -> None:
    command, _ = sample
    found = command("compare", "tinhat-ml/vit-fabric-faults", "--json").json
    assert found["verdict"] == "contradicted"
    assert found["why"] in command("compare", "tinhat-ml/vit-fabric-faults").out
    answer = command("compare", "tinhat-ml/vit-fabric-fault")
    assert answer.code == 2
    assert "did you mean tinhat-ml/vit-fabric-faults" in one_line(answer)


def test_cards_are_proposed_where_they_are_wrong_and_only_the_parents_change(sample: Sample, tmp_path: Path) -> None:
    command, folder = sample
    out = tmp_path / "proposed"
    before = {path: path.read_bytes() for path in folder.rglob("README.md")}
    cards = command("compare", "--fix-cards", out, "--json").json["cards"]
    true = truth(folder)
    for row in cards["proposed"]:
        new, old = (ModelCard((where / row["file"]).read_text()).data.to_dict() for where in (out, folder))
        assert [new.pop("base_model")] == row["base_model"] == true[row["model"]]["parents"]
        assert new.pop("base_model_relation") == row["base_model_relation"] == "finetune"
        assert new == {key: value for key, value in old.items() if key != "base_model"}
    wrong = {name for name, row in true.items() if row["verdict"] not in ("agrees", "root", "unmeasured")}
    (left,) = cards["left"]
    assert {row["model"] for row in cards["proposed"]} | {left["model"]} == wrong
    assert left["model"] == "acme-vision/vit-ramps-inspection"  # its header is no YAML
    assert "by hand: 'base_model: quillworks/vit-micro-ramps" in left["reason"]
    assert {path: path.read_bytes() for path in folder.rglob("README.md")} == before
    written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "nothing is sent" in command("compare", "--fix-cards", out).out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == written


def test_the_proposals_once_taken_up_leave_nothing_to_propose(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path / "models")
    (folder / "oak/left-a/README.md").write_text("---\nlicense: mit\nbase_model: oak/root\n---\n# A\n")
    for number, name in enumerate(("elm/child", "fir/copy")):
        (folder / name / ".hub.json").write_text(json.dumps({"created_at": f"2024-01-0{number + 1}T00:00:00Z"}))
    run = ("run", "--folder", folder, "--weights-only")
    assert command(*run).code == 0
    proposed = command("compare", "--fix-cards", tmp_path / "out", "--json").json["cards"]["proposed"]
    assert [(row["model"], row["base_model"]) for row in proposed] == [
        ("fir/copy", ["elm/child"]),
        ("oak/left-a", ["oak/left"]),
    ]
    for row in proposed:
        shutil.copy(tmp_path / "out" / row["file"], folder / row["file"])
    assert command(*run).code == 0
    cards = command("compare", "--fix-cards", tmp_path / "again", "--json").json["cards"]
    assert (cards["proposed"], cards["left"]) == ([], [])
    assert command("compare", "oak/left-a", "--json").json["verdict"] == "agrees"


def test_a_folder_of_somebody_else_is_refused_before_anything_is_done(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    answer = sample[0]("compare", "--fix-cards", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "not ours" in one_line(answer)


def descendants(folder: Path, root: str) -> set[str]:
    """All that were made from a model and measured, by the truth."""
    true = truth(folder)
    found = {root}
    while True:
        more = {name for name, row in true.items() if found & set(row["parents"]) and row["measured"]}
        if more <= found:
            return found - {root}
        found |= more


@pytest.mark.parametrize(
    ("root", "kind", "severity"),
    [
        ("northlight/vit-tiny-shapes", "non-commercial", "conflict"),
        ("mosslab/vit-micro-fields", "more-permissive", "conflict"),
        ("quillworks/llama-nano-grammar", "more-permissive", "conflict"),
        ("oxbow-lab/llama-pico-echo", "unclear", "read"),
    ],
)
def test_what_a_root_asks_for_is_missed_in_all_that_was_made_from_it(
    sample: Sample, root: str, kind: str, severity: str
) -> None:
    command, folder = sample
    found = command("licences", "--json", "--limit", 1000)
    assert found.code == 0
    rows = [row for row in found.json["findings"] if (row["ancestor"], row["kind"]) == (root, kind)]
    # Some keep to it, declare nothing that could be checked, or declare no licence at all.
    other = {"fernhollow/vit-tiny-digits", "tinhat-ml/digit-reader", "acme-vision/vit-ramps-inspection"}
    assert {row["model"] for row in rows} == descendants(folder, root) - (other if kind != "unclear" else set())
    for row in rows:
        assert row["severity"] == severity
        assert (row["path"][0], row["path"][-1]) == (root, row["model"])
        true = truth(folder)
        for parent, child in zip(row["path"], row["path"][1:], strict=False):
            assert parent in true[child]["parents"]
        assert 0.5 < row["confidence"] <= 1


def test_one_models_licences_are_answered_with_ancestors_path_and_confidence(sample: Sample) -> None:
    command, _ = sample
    found = command("licences", "brambleway/gratings-angle-lora", "--json").json
    assert found["licence"]["declared"] == ["apache-2.0"]
    assert [(one["model"], one["declared"]) for one in found["ancestors"]] == [
        ("acme-vision/vit-shapes-gratings", ["apache-2.0"]),
        ("northlight/vit-tiny-shapes", ["cc-by-nc-4.0"]),
    ]
    (row,) = found["findings"]
    product = found["ancestors"][1]["confidence"]
    assert (row["kind"], row["confidence"]) == ("non-commercial", round(product, 4))
    assert row["text"] == "https://creativecommons.org/licenses/by-nc/4.0/legalcode"
    shown = command("licences", "brambleway/gratings-angle-lora").out
    assert " → ".join(row["path"]) in shown
    for text in (shown, found["notice"], command("licences").out):
        assert "Not legal advice" in text


def test_a_copy_without_a_licence_is_told_of_its_originals(sample: Sample) -> None:
    found = sample[0]("licences", "tinhat-ml/digit-reader", "--json").json
    assert found["ancestors"][0]["relations"] == ["duplicate"]
    assert ("unclear", "fernhollow/vit-tiny-digits") in {(row["kind"], row["ancestor"]) for row in found["findings"]}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("tinhat-ml/vit-homemade", "no parent of it was found"),
        ("acme-vision/vit-fabric-private-line", "gated"),
        ("tinhat-ml/llama-sums-products-adapter", "an adapter holds only a difference"),
        ("oxbow-lab/coming-soon", "holds no weights"),
    ],
)
def test_no_finding_is_said_with_its_reason(sample: Sample, model: str, said: str) -> None:
    found = sample[0]("licences", model, "--json").json
    assert found["findings"] == []
    assert said in found["why"]
    assert found["why"] in sample[0]("licences", model).out


def test_unknown_models_kinds_and_severities_are_wrong_usage(sample: Sample) -> None:
    command, _ = sample
    answer = command("licences", "tinhat-ml/vit-homemad")
    assert answer.code == 2
    assert "did you mean tinhat-ml/vit-homemade" in one_line(answer)
    for option in ("--kind", "--severity"):
        answer = command("licences", option, "grave")
        assert answer.code == 2
        assert "expected" in one_line(answer)
    only = command("licences", "--severity", "read", "--json").json["findings"]
    assert {row["severity"] for row in only} == {"read"}


def test_the_views_say_what_the_command_says_and_comparing_again_changes_nothing(sample: Sample) -> None:
    command, _ = sample
    query = "SELECT model, kind, licence, path, why, found_at FROM hublineage.licence_findings ORDER BY 1, 2, 3"
    stamps = "SELECT revision_id, compared_at FROM licences UNION ALL SELECT revision_id, compared_at FROM verdicts"
    before, times = command.rows(query), sorted(command.rows(stamps))
    assert len(before) == len(command("licences", "--json", "--limit", 1000).json["findings"])
    assert command("compare").code == 0
    assert (command.rows(query), sorted(command.rows(stamps))) == (before, times)
    rows = command.rows("SELECT declared, unchecked FROM hublineage.licences WHERE model = 'tinhat-ml/vit-homemade'")
    assert rows == [(["apache-2.0"], "no parent of it was found")]


def test_as_far_as_the_stages_have_come_the_reasons_say(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)

    def why() -> str:
        assert command("compare").code == 0
        found: str = command("compare", "oak/left", "--json").json["why"]
        assert found.split(";", maxsplit=1)[0] in command("licences", "oak/left", "--json").json["why"]
        return found

    assert command("crawl", "--folder", folder, "--list-only").code == 0
    assert "only listed" in command("compare", "oak/left", "--json").json["why"]
    assert "only listed" in command("licences", "oak/left", "--json").json["why"]
    assert "no verdict: it is only listed" in command("show", "oak/left").out
    assert command("crawl", "--folder", folder).code == 0
    assert "not compared yet" in command("compare", "oak/left", "--json").json["why"]
    assert "no model was compared yet" in command("licences").out
    assert "was never measured" in why()
    assert command("measure").code == 0
    command.execute("UPDATE measure_batches SET finished_at = NULL")
    assert "are incomplete" in why()
    assert command("measure").code == 0
    assert "measured but not inferred yet" in why()
    assert command("infer", "--weights-only").code == 0
    command("compare")
    assert command("compare", "oak/left", "--json").json["verdict"] == "agrees"


def test_declared_circles_are_told_in_the_reasons(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)
    (folder / "oak/root/README.md").write_text("---\nbase_model: oak/left\n---\n")
    verdicts = command("run", "--folder", folder, "--json", "--weights-only").json["verdicts"]
    found = {row["model"]: row for row in verdicts}
    assert (found["oak/root"]["verdict"], found["oak/left"]["verdict"]) == ("reversed", "agrees")
    for name in ("oak/root", "oak/left"):
        assert "goes in a circle: oak/left → oak/root → oak/left" in found[name]["why"]
