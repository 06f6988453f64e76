"""Files and folders that appear whole or not at all: written under another name first, and renamed at the end."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from db.errors import OutputUnwritable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

MANIFEST = "manifest.json"
_PARTIAL = ".partial-"


@contextmanager
def staged_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder to write into, whose files, manifest.json among them, come into `folder` at the end of the block.

    On any error they are removed, and `folder` is as it was. Raises UsageError where `folder` holds anything, unless it
    is an earlier export (it has our manifest) and `replace` is set, and OutputUnwritable where it cannot be written.
    """
    with _clear_errors(folder):
        earlier = _checked(folder, replace=replace)
        existed = folder.is_dir()
        stage = folder / f"{_PARTIAL}{os.getpid()}"
        try:
            stage.mkdir(parents=True)
            yield stage
            _publish(stage, folder, earlier)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            if not existed and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise
        stage.rmdir()


@contextmanager
def staged_file(path: Path, *, replace: bool = False) -> Iterator[TextIO]:
    """A UTF-8 text file that appears as `path` at the end of the block; on any error it is removed.

    Raises UsageError where `path` exists and `replace` is not set, OutputUnwritable where it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; --out names the file to write")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file; without --out the export goes to stdout")
    if path.exists() and not replace:
        raise UsageError(f"{path} exists already; --replace writes over it")
    partial = path.with_name(f"{_PARTIAL}{os.getpid()}-{path.name}")
    with _clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of an export in that folder; None where it has none of ours."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "hublineage" in found and "tables" in found else None


def _checked(folder: Path, *, replace: bool) -> set[str]:
    """The names of an earlier export's files in the folder, which are ours to remove."""
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; --out names the folder to write into")
    manifest = manifest_of(folder)
    names = {one.name for one in folder.iterdir() if not _abandoned(one)}
    if manifest is None:
        if names:
            raise UsageError(f"{folder} is not empty and holds no export of ours; name an empty or a new folder")
        return set()
    if not replace:
        raise UsageError(f"{folder} holds an export of {manifest.get('exported_at')}; --replace writes over it")
    # Plain names alone: a manifest that someone wrote must not lead out of the folder.
    tables = manifest["tables"].values() if isinstance(manifest["tables"], dict) else ()
    files = {str(table.get("file")) for table in tables if isinstance(table, dict)}
    return {name for name in files | {MANIFEST} if name in names}


def _abandoned(path: Path) -> bool:
    """Whether this is what a killed export left; such folders are removed on the way."""
    number = path.name.removeprefix(_PARTIAL)
    if number == path.name or not number.isdigit() or not path.is_dir():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    except (OSError, OverflowError):
        return False
    return False


def _publish(stage: Path, folder: Path, earlier: set[str]) -> None:
    """Move the files over; without a manifest in between, so that a half-moved folder never passes for a whole one."""
    for written in stage.iterdir():
        with written.open("rb") as file:
            os.fsync(file.fileno())
    if MANIFEST in earlier:
        (folder / MANIFEST).unlink()
    names = sorted(one.name for one in stage.iterdir() if one.name != MANIFEST)
    for name in [*names, MANIFEST]:
        (stage / name).replace(folder / name)
    for name in earlier - {*names, MANIFEST}:
        (folder / name).unlink(missing_ok=True)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputUnwritable(f"{path}: {error.strerror or error}; nothing of it was kept") from error
