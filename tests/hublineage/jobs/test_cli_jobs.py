"""The commands of the queue: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command, one_line


def test_jobs_are_listed_cancelled_tried_again_and_watched(queued: Command, models: Path) -> None:
    queued("enqueue", "--folder", models)
    found = queued("jobs", "--json").json
    (one,) = found["jobs"]
    assert (one["task"], one["state"], one["args"]["source"]) == ("sweep", "waiting", models.as_uri())
    assert found["stages"] == [{"task": "sweep", "counts": {"waiting": 1}, "seconds": None}]
    assert "waiting" in queued("jobs").out
    assert queued("jobs", "cancel", one["id"], "--json").json == {"cancelled": [one["id"]]}
    assert queued("jobs", "--json").json["jobs"] == []
    again = queued("jobs", "cancel", one["id"])
    assert (again.code, "cancelled: []" in again.out) == (0, True)
    assert f"job {one['id']} stays as it is: cancelled" in again.err
    assert [job["state"] for job in queued("jobs", "--state", "all", "--json").json["jobs"]] == ["cancelled"]
    assert queued("jobs", "retry", one["id"], "--json").json == {"retried": [one["id"]]}
    (line,) = queued("jobs", "watch", "--seconds", 0, "--json").out.splitlines()
    assert json.loads(line)["doing"] == []
    assert "sweep" in queued("jobs", "watch", "--seconds", 0).out
    assert queued("status", "--json").json["queue"] == {"jobs": {"waiting": 1}, "given_up": []}


def test_what_names_hold_is_shown_as_it_is(queued: Command, models: Path) -> None:
    queued("enqueue", "--folder", models)
    queued.execute(
        "INSERT INTO job_records (job_id, what, reason)"
        " VALUES (1, '[/red]' || chr(27), 'see [link=x]hf_' || repeat('a', 20))"
    )
    shown = queued("jobs").out
    assert "[/red]\\x1b" in shown
    assert "see [link=x]***" in shown


def test_jobs_of_one_source_are_told_apart(queued: Command) -> None:
    queued("enqueue", "--endpoint", "http://127.0.0.1:1", "--author", "me", "--architecture", "Bert*")
    queued("enqueue", "--endpoint", "http://127.0.0.1:1", "--id", "a/b", "--id", "c/d")
    queued.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = 2")
    shown = queued("jobs").out
    assert "http://127.0.0.1:1, author me, architectures Bert*" in shown
    assert "http://127.0.0.1:1, ids a/b c/d" in shown
    (failed,) = queued("status", "--json").json["queue"]["given_up"]
    assert failed["what"] == "http://127.0.0.1:1, ids a/b c/d"


def test_jobs_that_failed_or_were_parked_are_given_up_by_name(queued: Command, models: Path) -> None:
    queued("enqueue", "--folder", models)
    queued.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    queued.execute("INSERT INTO job_records (job_id, kind) VALUES (1, 'WorkerLost')")
    assert [job["state"] for job in queued("jobs", "--json").json["jobs"]] == ["parked"]
    assert queued("jobs", "cancel", "--all", "--json").json == {"cancelled": []}
    assert queued("jobs", "cancel", 1, "--json").json == {"cancelled": [1]}
    assert queued("jobs", "--json").json["jobs"] == []
    assert queued("enqueue", "--folder", models, "--json").json == {"queued": 1, "known": 0}
    again = queued("jobs", "retry", 1)
    assert "job 1 stays as it is: cancelled; the same work waits already" in again.err


def test_inference_that_makes_no_sense_is_refused_at_once(
    queued: Command, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBLINEAGE_INFER__TREES", "3")
    queued("enqueue", "--folder", models)
    answer = queued("worker", "--drain")
    assert (answer.code, "add --method mother" in one_line(answer)) == (2, True)


def test_several_processes_do_the_work_of_one_command(queued: Command, models: Path) -> None:
    queued("enqueue", "--folder", models)
    assert queued("jobs", "cancel", "--all").code == 0
    assert queued("worker", "--drain", "--concurrency", 2).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("worker", "--queues", "crawl,mesure"), "--queues crawl,mesure: expected some of crawl,measure,infer"),
        (("enqueue", "--endpoint", "nonsense"), "--endpoint nonsense: this is no Hub's address"),
        (("worker", "--memory", "lots"), "--memory: memory 'lots': 'lots' is no amount of memory"),
        (("worker", "--once", "--drain"), "--once and --drain are two ends"),
        (("worker", "--device", "cuda:99"), "cuda:99"),
        (("worker", "--memory", "much"), "'much' is no amount of memory"),
        (("enqueue",), "the whole Hub is a great deal"),
        (("enqueue", "--followed"), "nothing is followed"),
        (("enqueue", "--followed", "--author", "a"), "--followed takes its queries from the settings"),
        (("enqueue", "--author", "a", "--limit", 3, "--increment"), "an increment follows a whole listing"),
        (("jobs", "--state", "broken"), "--state broken: expected one of waiting, "),
        (("jobs", "--task", "x"), "--task x: expected one of crawl, "),
        (("jobs", "cancel", "--task", "x"), "--task x: expected one of crawl, "),
        (("jobs", "retry"), "say which jobs"),
        (("jobs", "retry", 77), "there is no job 77"),
        (("jobs", "cancel"), "say which jobs"),
    ],
)
def test_what_makes_no_sense_is_refused(queued: Command, arguments: tuple[object, ...], words: str) -> None:
    answer = queued(*arguments)
    assert answer.code == 2
    assert words in one_line(answer)
