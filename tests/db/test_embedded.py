"""The private server: started once, shared, stopped by its last user, and none the worse for a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db import embedded

START = "import sys; from pathlib import Path; from db import embedded; print(embedded.start(Path(sys.argv[1])))"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hublineage-embedded-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        embedded.stop(Path(folder))


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def answers(address: str) -> bool:
    with psycopg.connect(address) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_the_last_user_stops_the_server_and_the_data_stays(data_dir: Path) -> None:
    with embedded.serving(data_dir) as address:
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
        with embedded.serving(data_dir) as same:
            assert same == address
        assert embedded.is_running(data_dir)
    assert not embedded.is_running(data_dir)
    with embedded.serving(data_dir) as address, psycopg.connect(address) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (42,)
        embedded.keep_running(data_dir)
    assert embedded.is_running(data_dir)
    assert embedded.stop(data_dir)
    assert not embedded.stop(data_dir)


def test_a_killed_server_starts_again(data_dir: Path) -> None:
    address = embedded.start(data_dir)
    os.kill(postmaster(data_dir), signal.SIGKILL)
    time.sleep(0.2)
    assert embedded.start(data_dir) == address
    assert answers(address)


def test_three_processes_may_start_it_at_once_and_an_unfinished_making_is_made_anew(data_dir: Path) -> None:
    command = [sys.executable, "-c", START, str(data_dir)]
    cut = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while not (data_dir / "postgres" / "PG_VERSION").exists():
        assert cut.poll() is None
        time.sleep(0.01)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    starting = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    addresses = {process.communicate()[0].strip() for process in starting}
    assert len(addresses) == 1
    assert answers(addresses.pop())
