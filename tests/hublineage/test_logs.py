"""Logs: one line per event, with what it is about, from all loggers, without secrets."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from crawler.hub import HubSource
from crawler.observed import Exchange
from hublineage import logs
from hublineage.hub.server import HubServer
from lineage.stored_tensor import Block, StoredTensor
from lineage.stream import layer_stream

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


@pytest.mark.parametrize("form", ["json", "text"])
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
    logs.configure("text", stream=stream)
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


def test_threads_that_read_layers_know_what_they_are_about() -> None:
    seen: list[dict[str, Any]] = []
    tensor = StoredTensor("f", "w", "F32", 0, 4096 * 4)

    def read(_member: int, _tensor: StoredTensor, _start: int, _into: memoryview) -> bool:
        seen.append(dict(structlog.contextvars.get_contextvars()))
        return True

    def as_it_is(block: Block) -> Block:
        return block

    with logs.about(job=7, family="llama"), layer_stream(read) as stream:
        assert [len(block.parts) for block in stream.each([tensor], 4096, 4096, lambda _: as_it_is)] == [1]
    assert seen == [{"job": 7, "family": "llama"}]


def test_threads_that_fetch_ranges_know_what_they_are_about(tmp_path: Path) -> None:
    (tmp_path / "org/model").mkdir(parents=True)
    (tmp_path / "org/model/a.bin").write_bytes(bytes(64 << 20))
    seen: list[tuple[str, dict[str, Any]]] = []

    def observe(_: Exchange) -> None:
        seen.append((threading.current_thread().name, dict(structlog.contextvars.get_contextvars())))

    with HubServer(tmp_path) as server, HubSource(server.url, observe=observe) as hub:
        sha = hub.details("org/model").sha
        with logs.about(job=7):
            hub.read_into("org/model", sha, "a.bin", 0, memoryview(bytearray(40 << 20)))
    fetched = [about for name, about in seen if name.startswith("ranges")]
    assert len(fetched) >= 2
    assert all(about == {"job": 7} for about in fetched)
