"""Logs: one line per event, with what it is about, from all loggers, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from hublineage import logs

TOKEN = "hf_" + "abcdEFGH" * 4  # the form of the Hub's tokens, and none


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_of_libraries_and_of_ours_carry_what_they_are_about(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    with logs.about(job=7, family="llama"):
        logging.getLogger("some.library").info("%s layers", 3)
        structlog.get_logger("ours").info("measured", layers=3)
    logging.getLogger("some.library").info("later")
    library, ours, later = lines(stream)
    assert library["event"] == "3 layers"
    assert (library["job"], library["family"], library["logger"]) == (7, "llama", "some.library")
    assert (ours["event"], ours["layers"], ours["job"], ours["level"]) == ("measured", 3, 7, "info")
    assert "job" not in later


@pytest.mark.parametrize("form", ["json", "human"])
def test_no_secret_comes_through_wherever_it_stands(stream: io.StringIO, form: logs.Format) -> None:
    logs.configure(form, stream=stream, secrets=["correct horse"])
    log = logging.getLogger("any")
    log.warning("Authorization: Bearer %s", TOKEN)
    log.warning("postgresql://me:battery@db:5432/x and https://cdn/x?X-Amz-Signature=staple&a=1 password=battery")
    log.warning("nested", extra={"headers": {"authorization": "staple", "list": [("correct horse",)]}})
    structlog.get_logger().warning("odd", token="staple", thing=ValueError(TOKEN))
    try:
        int(f"{TOKEN} correct horse")
    except ValueError:
        log.exception("it failed")
    written = stream.getvalue()
    assert "it failed" in written
    assert "invalid literal" in written
    for secret in (TOKEN, "battery", "staple", "correct horse"):
        assert secret not in written


def test_names_neither_break_lines_nor_steer_a_terminal(stream: io.StringIO) -> None:
    logs.configure("human", stream=stream)
    logging.getLogger("any").info("org/\x1b[2Jname\nINFO forged")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_what_is_no_secret_stays(stream: io.StringIO) -> None:
    text = "hf_hub_download of org/tokenizer: 5 tokens, https://huggingface.co/api/models?limit=1000"
    assert logs.masked(text) == text


def test_procrastinates_records_become_numbers_and_names(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    job = {"id": 4, "task_name": "measure", "queue": "measure", "call_string": "measure(...)"}
    logging.getLogger("procrastinate.worker").info("Starting", extra={"job": job, "worker": {"worker_id": 2}})
    (line,) = lines(stream)
    assert (line["job"], line["task"], line["queue"], line["worker"]) == (4, "measure", "measure", 2)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no level"):
        logs.configure(level="loud")
