"""Settings come from a file, the environment and the command line, and each says from where."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from commands import Command, one_line

from crawler.source import Query
from db.errors import UsageError
from hublineage.settings import Settings, read_settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings but those of the test."""
    for name in ("DATABASE_URL", "HF_ENDPOINT", "HUBLINEAGE_MEMORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    file = tmp_path / "settings.toml"
    file.write_text("")
    monkeypatch.setenv("HUBLINEAGE_CONFIG", str(file))
    return file


@pytest.fixture
def command() -> Command:
    """The command, which needs no database here."""
    return Command(None)


def example() -> str:
    (text,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return str(text)


def test_the_documented_example_loads_and_says_the_defaults(nowhere: Path) -> None:
    nowhere.write_text(example())
    found = read_settings()
    for name, field in Settings.model_fields.items():
        if name not in {"follow", "data_dir"}:
            assert getattr(found, name) == field.get_default(call_default_factory=True), name
    assert [one.query() for one in found.follow] == [
        Query(architectures=("BertForMaskedLM", "Roberta*")),
        Query(author="google-bert", tags=("safetensors",)),
    ]


def test_the_documented_example_shows_every_key(nowhere: Path) -> None:
    nowhere.write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", example()))
    shown = tomllib.loads(nowhere.read_text())
    assert set(shown) == set(Settings.model_fields)
    for table in ("infer", "schedule", "queue", "retention"):
        assert set(shown[table]) == set(type(getattr(read_settings(), table)).model_fields), table


def test_the_command_line_goes_before_the_environment_before_the_file(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere.write_text('memory = "2GiB"\ndatabase_url = "postgresql://file/x"\n[queue]\ntries = 3\npoll = 1.5\n')
    assert read_settings().memory == "2GiB"
    monkeypatch.setenv("HUBLINEAGE_MEMORY", "3GiB")
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment/x")
    monkeypatch.setenv("HUBLINEAGE_QUEUE__TRIES", "7")
    found = read_settings()
    assert (found.memory, found.database_url) == ("3GiB", "postgresql://environment/x")
    assert (found.queue.tries, found.queue.poll) == (7, 1.5)
    assert read_settings(memory="4GiB").memory == "4GiB"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('memmory = "2GiB"', "nobody reads 'memmory'; did you mean 'memory'?"),
        ("[queue]\nstaled_after = 90", "nobody reads queue.'staled_after'; did you mean 'stalled_after'?"),
        ('[[follow]]\narchitecture = ["a"]', r"nobody reads follow[0].'architecture'; did you mean 'architectures'?"),
        ("[schedules]\n", "did you mean 'schedule'?"),
        ("zzz = 1", "known are cache, "),
        ("memory = ", "settings.toml: "),
        ("quota_share = 2", "quota_share 2: "),
        ('[schedule]\nsweep = "hourly"', "schedule.sweep 'hourly': this is no cron expression"),
        ("[[follow]]\n", "follow.0: the whole Hub is a great deal"),
        ('[[follow]]\nfolder = "/a"\nendpoint = "https://b"', "follow.0: folder and endpoint name two sources"),
        ('[queue]\nblock = "lots"', "queue.block 'lots': 'lots' is no amount of memory"),
        ('[infer]\nmetric = "L7"', "infer.metric 'L7': Input should be 'fine-tune' or 'low-rank'"),
        ("[queue]\nheartbeat = 40.0", "queue: stalled_after must be at least twice the heartbeat"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(nowhere: Path, text: str, words: str) -> None:
    nowhere.write_text(text)
    with pytest.raises(UsageError, match=re.escape(words)):
        read_settings()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HUBLINEAGE_JOBS", "many", "jobs 'many': Input should be a valid integer"),
        ("HUBLINEAGE_FOLLOW", "bert", 'field "follow" from source "EnvSettingsSource": Expecting value'),
        ("HUBLINEAGE_QUEUE__TRYS", "3", "TRYS: nobody reads this variable; did you mean HUBLINEAGE_QUEUE__TRIES?"),
        ("HUBLINEAGE_MEMMORY", "1", "MEMMORY: nobody reads this variable; did you mean HUBLINEAGE_MEMORY?"),
        ("hublineage_qeue__poll", "1", "qeue__poll: nobody reads this variable; did you mean HUBLINEAGE_QUEUE__POLL?"),
        (
            "HUBLINEAGE_DATABASE_URL",
            "x://a:b@c",
            "DATABASE_URL: nobody reads this variable; did you mean DATABASE_URL?",
        ),
        ("HUBLINEAGE_MEMORY__MOST", "1", "MEMORY__MOST: nobody reads this variable; did you mean HUBLINEAGE_MEMORY?"),
        ("HUBLINEAGE_FOLLOW__AUTHOR", "me", "nobody reads this variable; did you mean HUBLINEAGE_FOLLOW?"),
        ("HUBLINEAGE_SCHEDULE__SWEEP", "weekly", "schedule.sweep 'weekly': this is no cron expression"),
    ],
)
def test_what_is_wrong_with_a_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=re.escape(words)):
        read_settings()


def test_a_file_that_is_named_and_missing_is_an_error(command: Command, tmp_path: Path) -> None:
    answer = command("--config", tmp_path / "no.toml", "config")
    assert answer.code == 2
    assert "there is no settings file" in one_line(answer)


def test_config_says_what_is_in_force_and_from_where(
    command: Command, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere.write_text('jobs = 9\nendpoint = "http://file"\n[schedule]\nsweep = ""\n[[follow]]\nauthor = "org"\n')
    monkeypatch.setenv("HF_ENDPOINT", "http://environment")
    monkeypatch.setenv("HUBLINEAGE_QUEUE__POLL", "3")
    found = command("config", "--json", "--data-dir", tmp_path / "data").json
    assert found["file"] == str(nowhere)
    settings = found["settings"]
    assert settings["jobs"] == {"value": 9, "origin": "file", "by": str(nowhere)}
    assert settings["endpoint"] == {"value": "http://environment", "origin": "environment", "by": "HF_ENDPOINT"}
    assert settings["queue.poll"] == {"value": 3.0, "origin": "environment", "by": "HUBLINEAGE_QUEUE__POLL"}
    assert settings["schedule.sweep"]["origin"] == "file"
    assert settings["schedule.increments"] == {"value": "7 * * * *", "origin": "default", "by": None}
    assert settings["data_dir"]["origin"] == "option"
    assert settings["follow"] == {"value": [{"author": "org"}], "origin": "file", "by": str(nowhere)}
    other = tmp_path / "other.toml"
    other.write_text("jobs = 2")
    assert command("--config", other, "config", "--json").json["settings"]["jobs"]["value"] == 2
    assert command("config", "--json").json["settings"]["jobs"]["value"] == 9


def test_config_prints_no_secret(command: Command, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    nowhere.write_text(
        'database_url = "postgresql://user:geheim@host/x?password=verborgen"\nendpoint = "https://me:heimlich@host"\n'
        '[[follow]]\nendpoint = "https://me:heimlich@host"\nauthor = "a"\n'
    )
    answers = [command("config"), command("config", "--json")]
    for answer in answers:
        assert answer.code == 0, answer.err
        assert not [word for word in ("geheim", "verborgen", "heimlich", "hf_abc") if word in answer.out + answer.err]
    assert "postgresql://user:***@host/x" in json.dumps(answers[1].json)
