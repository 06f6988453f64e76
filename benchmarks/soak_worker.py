"""A worker of the soak: `hublineage crawl` in a process of its own that wastes little time on waiting."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

import httpx2
import psutil

import crawler.budget
import crawler.ranges
from crawler.budget import shared_budget
from crawler.hub import HubSource
from crawler.retry import Policy
from hublineage import cli

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from crawler.source import Source
    from hublineage.progress import Reporter
    from hublineage.settings import Settings

TIMEOUT = 2.0  # seconds: what stalls costs so much
PAGE = 100  # repositories, so that a listing of few has many pages
POLICY = Policy(first_wait=0.02, longest_wait=0.2, longest_asked_wait=0.2)
_CONTEXT = multiprocessing.get_context("forkserver")


class Worker:
    """The command, forked from a process that has imported it: a fresh start takes seconds. `words`: a file's stem."""

    def __init__(self, url: str, database: str, words: Path) -> None:
        _CONTEXT.set_forkserver_preload(["benchmarks.soak_worker"])
        self._words = words.with_suffix(".txt")
        self._words.touch()
        self._process = _CONTEXT.Process(target=_work, args=(url, database, self._words))
        self._process.start()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def is_listing(self) -> bool:
        """Whether it has stored a page and describes nothing yet; while one lists, others wait."""
        words = self.words()
        return "list: " in words and "describe: " not in words

    def memory(self) -> int:
        """Bytes of resident memory; 0 once it has ended."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait(self) -> int:
        """Its exit code; minus the signal where it was killed."""
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        return code

    def words(self) -> str:
        """What it said so far."""
        return self._words.read_text()


def _work(url: str, database: str, words: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DATABASE_URL"] = database
    sys.argv = ["hublineage", "crawl", "--endpoint", url]
    _hasten()
    with words.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        cli.main()


def _hasten() -> None:
    """Shorten what is waited for; the settings of the command have no use for such values."""
    crawler.budget.FIRST_BACK_OFF = crawler.budget.ROUNDING = 0.05
    crawler.ranges.DEADLINE = TIMEOUT
    cli.open_source = _brisk_source


def _brisk_source(name: str, engine: Engine, settings: Settings, _: Reporter) -> Source:
    budget = shared_budget(engine, name, None, share=settings.quota_share)
    timeout = httpx2.Timeout(TIMEOUT)
    return HubSource(name, budget=budget, page_size=PAGE, policy=POLICY, timeout=timeout)
