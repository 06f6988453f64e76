"""A worker of the soak: `hublineage crawl` in a process of its own that wastes little time on waiting."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import httpx2
import psutil

import crawler.budget
import crawler.ranges
import hublineage.sources
from crawler.hub import HubSource
from crawler.retry import Policy
from hublineage import cli

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 1.0  # seconds: what stalls costs so much
POLICY = Policy(first_wait=0.02, longest_wait=0.2, longest_asked_wait=0.2)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.soak_worker"])  # before anything is forked


class Worker:
    """The command, forked from a process that has imported it: a fresh start takes seconds.

    `words` is the stem of the file that its words go to, `page` how many repositories it lists at a time.
    """

    def __init__(self, url: str, database: str, words: Path, page: int) -> None:
        self._words = words.with_suffix(".txt")
        self._words.touch()
        self._process = _CONTEXT.Process(target=_work, args=(url, database, self._words, page))
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


def _work(url: str, database: str, words: Path, page: int) -> None:
    os.environ["DATABASE_URL"] = database
    sys.argv = ["hublineage", "crawl", "--endpoint", url]
    brisk = partial(HubSource, page_size=page, policy=POLICY, timeout=httpx2.Timeout(TIMEOUT))
    with (
        # The settings of the command have no use for such values.
        patch.multiple(crawler.budget, FIRST_BACK_OFF=0.05, ROUNDING=0.05),
        patch.object(crawler.ranges, "DEADLINE", TIMEOUT),
        patch.object(hublineage.sources, "HubSource", brisk),
        words.open("w", buffering=1) as sys.stdout,
    ):
        sys.stderr = sys.stdout
        cli.main()
