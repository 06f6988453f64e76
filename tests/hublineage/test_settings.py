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
from hublineage.settings import HUB, Settings, in_force, read_settings

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
        ('[schedule]\nsweep = "0 0 30 2 *"', "schedule.sweep '0 0 30 2 *': no such moment ever comes"),
        ("[[follow]]\n", "follow.0: the whole Hub is a great deal"),
        ('[[follow]]\nfolder = "/a"\nendpoint = "https://b"', "follow.0: folder and endpoint name two sources"),
        ('[queue]\nblock = "lots"', "settings.toml: queue.block 'lots': 'lots' is no amount of memory"),
        ('memory = "lots"', "settings.toml: memory 'lots': 'lots' is no amount of memory"),
        ('memory = "5M"', "memory '5M': '5M' is too little memory"),
        ('cache_size = "-3G"', "cache_size '-3G': '-3G' is less than nothing"),
        ("jobs = 0", "settings.toml: jobs 0: Input should be greater than or equal to 1"),
        ("endpoint = 'https://'", "settings.toml: endpoint 'https://': this is no Hub's address"),
        ('[[follow]]\nauthor = "a"\nendpoint = "b"', "settings.toml: follow.0.endpoint 'b': this is no Hub's address"),
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
        ("HUBLINEAGE_JOBS", "many", "HUBLINEAGE_JOBS: jobs"),
        ("HUBLINEAGE_FOLLOW", "bert", "HUBLINEAGE_FOLLOW: 'bert' is no JSON, as tables are here: Expecting value"),
        ("HUBLINEAGE_FOLLOW", '[{"autor": "a"}]', "FOLLOW: nobody reads follow[0].'autor'; did you mean 'author'?"),
        ("HUBLINEAGE_FOLLOW", "3", "HUBLINEAGE_FOLLOW: follow 3: expected a list"),
        ("hublineage_queue", '{"trys": 3}', "hublineage_queue: nobody reads queue.'trys'; did you mean 'tries'?"),
        ("HUBLINEAGE_QUEUE", "3", "HUBLINEAGE_QUEUE: queue 3: expected a table"),
        ("HUBLINEAGE_QUEUE", '{"tries": "x"}', "HUBLINEAGE_QUEUE: queue.tries 'x': "),
        ("HUBLINEAGE_QUEUE__POLL", "inf", "HUBLINEAGE_QUEUE__POLL: queue.poll 'inf': Input should be a finite number"),
        ("HUBLINEAGE_QUEUE__HEARTBEAT", "50", "HUBLINEAGE_QUEUE__HEARTBEAT: queue: stalled_after must be at least"),
        ("HUBLINEAGE_DEVICE", "tpu", "HUBLINEAGE_DEVICE: device 'tpu': expected auto, cpu, cuda or cuda:number"),
        ("HF_ENDPOINT", "me:geheim@host", "HF_ENDPOINT: endpoint 'me:geheim@host': this is no Hub's address"),
        ("HF_ENDPOINT", "ftp://me:geheim@host", "HF_ENDPOINT: endpoint 'ftp://me:***@host': this is no Hub's address"),
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


def test_a_table_in_the_environment_is_laid_over_the_files_key_by_key(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere.write_text("[queue]\ntries = 7\npoll = 3\nslice = 9\n")
    monkeypatch.setenv("HUBLINEAGE_QUEUE", '{"poll": 1, "slice": 2}')
    monkeypatch.setenv("HUBLINEAGE_QUEUE__SLICE", "8")
    found = {one.name: (one.value, one.origin.kind, one.origin.by) for one in in_force({})}
    assert found["queue.tries"] == (7, "file", str(nowhere))
    assert found["queue.poll"] == (1, "environment", "HUBLINEAGE_QUEUE")
    assert found["queue.slice"] == (8, "environment", "HUBLINEAGE_QUEUE__SLICE")
    assert found["queue.heartbeat"] == (10, "default", None)


def test_a_tilde_is_the_home_folder(nowhere: Path) -> None:
    nowhere.write_text('data_dir = "~/data"\ncache = "~/cache"\n')
    found = read_settings()
    assert (found.data_dir, found.cache) == (Path.home() / "data", Path.home() / "cache")


def test_a_followed_folder_has_a_name_where_it_is_not_there() -> None:
    # A scheduler needs no folder: workers read it.
    (followed,) = read_settings(follow=[{"folder": "/not/here"}]).follow
    assert followed.source("https://huggingface.co") == "file:///not/here"


def test_what_is_wrong_with_an_option_is_named() -> None:
    with pytest.raises(UsageError, match="--memory: memory 'lots': 'lots' is no amount of memory"):
        read_settings(memory="lots")


def test_an_empty_variable_says_nothing_but_never_of_the_schedule(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere.write_text("jobs = 9\n")
    for name in ("JOBS", "CACHE", "DATA_DIR", "METRICS_PORT", "QUEUE__TRIES", "FOLLOW", "SCHEDULE__SWEEP"):
        monkeypatch.setenv(f"HUBLINEAGE_{name}", "")
    for name in ("HF_ENDPOINT", "DATABASE_URL"):
        monkeypatch.setenv(name, "")
    found = read_settings()
    assert (found.jobs, found.cache, found.metrics_port, found.queue.tries, found.follow) == (9, None, None, 30, ())
    assert (found.endpoint, found.database_url) == (HUB, None)
    assert found.data_dir == Settings.model_fields["data_dir"].get_default(call_default_factory=True)
    assert (found.schedule.sweep, found.schedule.inference) == ("", "41 2 * * *")
    origins = {one.name: one.origin.kind for one in in_force({})}
    assert (origins["jobs"], origins["cache"], origins["schedule.sweep"]) == ("file", "default", "environment")


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
