"""The Hub of the soak: the local Hub in a process of its own, with faults of every kind, and answers that are wrong."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Self

from hublineage.hub import fault_pages, fault_replies, fault_wraps
from hublineage.hub.fault_chance import ALL
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path
    from types import TracebackType

    from hublineage.hub.asked import Asked
    from hublineage.hub.fault_wraps import Wrap

LATE = 0.05  # seconds that late replies take, and that a 429 asks for
_EXPIRE_EVERY = 300  # requests, at the full share: all signed addresses expire


def _is_api(request: Asked) -> bool:
    return request.path.startswith("/api/models")


def _is_listing(request: Asked) -> bool:
    return request.path == "/api/models"


def _is_hub(request: Asked) -> bool:
    return not request.path.startswith("/cdn/")


def _is_small(request: Asked) -> bool:
    return request.path.startswith("/api/resolve-cache/")


def _instead(code: int, error_code: str | None = None) -> Wrap:
    return fault_wraps.instead(fault_replies.status(code, {}, error_code=error_code))


def _json(content: str) -> Wrap:
    return fault_wraps.instead(fault_replies.garbage(content, 200, "application/json"))


def _page(change: fault_pages.Change) -> Wrap:
    return fault_pages.changing(lambda request, page: change(request, page) or page)


MISTAKES: dict[str, tuple[Callable[[Asked], bool], Wrap]] = {
    "401": (_is_hub, _instead(401)),
    "403": (_is_hub, _instead(403)),
    "404": (_is_hub, _instead(404)),
    "404 EntryNotFound": (lambda request: "/resolve/" in request.path, _instead(404, "EntryNotFound")),
    "an empty object": (_is_api, _json("{}")),
    "an empty list": (_is_api, _json("[]")),
    "a page for a file": (
        _is_small,
        fault_wraps.instead(fault_replies.garbage(fault_replies.PROXY_PAGE, 200, "text/html")),
    ),
    "dropped row": (_is_listing, _page(fault_pages.DroppedRows(1))),
}
"""What one reply alone does not show to be wrong: asking again, hashes and the listing do.

Left out are other bytes than a Content-Range says: in the middle of a header that was cut off they may make sense, and
nothing but a hash of the whole file, which is never read whole, would show it.
"""

KINDS = (*ALL, *MISTAKES)


class _SoakFaults(Faults):
    """The local Hub's faults, and mistakes in proportion to their number."""

    def __init__(self) -> None:
        super().__init__()
        self._draws = 0
        self._wrong: tuple[float, int] = (0.0, 0)
        self._drawing = threading.Lock()

    def disturb(self, share: float, seed: int) -> None:
        """Let a share of all requests fail from now on."""
        wrong = share * len(MISTAKES) / len(KINDS)
        self.random((share - wrong) / (1 - wrong) if wrong < 1 else 0.0, seed, ALL, wait=LATE)
        self.repeat_rows(3, times=None)
        self.refuse_expand(["safetensors", "baseModels"], times=2)
        self._wrong = (wrong, seed)

    def calm(self) -> None:
        """Let all requests succeed."""
        self._wrong = (0.0, 0)
        self.clear()

    def plan(self, request: Asked) -> list[Wrap]:
        """As the Hub's own faults, or a mistake in their place."""
        share, seed = self._wrong
        with self._drawing:
            self._draws += 1
            draw = Random(f"mistake/{seed}/{self._draws}")  # noqa: S311  # no secret
        fitting = [(name, wrap) for name, (needs, wrap) in MISTAKES.items() if needs(request)]
        if draw.random() < share / _EXPIRE_EVERY * len(KINDS):
            self.expire_addresses()
        if draw.random() >= share or not fitting:
            return super().plan(request)
        name, wrap = draw.choice(fitting)
        with self._lock:
            self._record(request)
            self.struck.append((name, request.line))
        return [fault_wraps.dated, wrap]


class SoakHub:
    """The local Hub over a folder: `with SoakHub(folder) as hub: ... hub.url ...`."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
        self.url = ""

    def disturb(self, share: float, seed: int) -> None:
        """Let a share of all requests fail from now on."""
        self._ask("disturb", share, seed)

    def calm(self) -> tuple[int, Counter[str]]:
        """Let all succeed from now on: how many requests there were since the last time, and the faults by kind."""
        requests, struck = self._ask("calm")
        return requests, struck

    def _ask(self, *question: Any) -> Any:
        self._ours.send(question)
        return self._ours.recv()

    def __enter__(self) -> Self:
        self._process.start()
        self.url = self._ours.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.send(None)
        self._process.join(10)
        self._process.kill()
        self._process.join()
        self._ours.close()


def _serve(folder: Path, questions: Connection) -> None:
    faults = _SoakFaults()
    with HubServer(folder, faults=faults) as server:
        questions.send(server.url)
        while (question := questions.recv()) is not None:
            if question[0] == "disturb":
                faults.disturb(*question[1:])
                questions.send(None)
            else:
                counts = len(faults.asked), Counter(kind for kind, _ in faults.struck)
                faults.calm()
                questions.send(counts)
