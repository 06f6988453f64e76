"""A worker that dies of one model, as one does whose memory runs out there."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crawler.folder import FolderSource
from hublineage import cli


def die_of(
    folder: Path, model: str, call: str, arguments: Sequence[str], environment: Mapping[str, str | None]
) -> int | None:
    """Run the command in a process that is killed when `call` is at the model; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hublineage.cli", "hublineage.cli_worker", "hublineage.job"])
    process = context.Process(target=_run, args=(folder, model, call, list(arguments), dict(environment)))
    process.start()
    process.join(120)
    return process.exitcode


def _run(folder: Path, model: str, call: str, arguments: list[str], environment: dict[str, str | None]) -> None:
    import sys  # noqa: PLC0415

    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    usual: Any = getattr(FolderSource, call)

    def deadly(self: FolderSource, asked: Any) -> Any:
        names = [asked] if isinstance(asked, str) else [part.name for part in asked]
        if model in names:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(self, asked)

    setattr(FolderSource, call, deadly)
    sys.argv = ["hublineage", *arguments]
    with folder.open("w") as sys.stderr:
        cli.main()
