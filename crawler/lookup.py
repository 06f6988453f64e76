"""Asking a source where names lead: those that cards declare and those that a listing shows no more.

A card may name its parent by a former or a bare name, to which the Hub answers with a redirect (307). Each name is
asked for once, and only those that models declare which were described: this costs less than describing did.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from db import declared
from db.engine import transaction
from db.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Engine

    from crawler.source import Listed, Source

MOST = 1_000  # names in one crawl, those first that most models declare; the next crawl asks for more
GIVEN_UP = 5  # failures of the source in a row, after which it is not asked for more

log = logging.getLogger(__name__)


def located(source: Source, names: Iterable[str]) -> Iterator[tuple[str, Listed | None]]:
    """Names with what they lead to; without those of which the source fails, which the next crawl asks for again."""
    failed = 0
    for name in names:
        try:
            found = source.locate(name)
        except Failure as failure:
            log.warning("%s", failure)
            failed += 1
            if failed == GIVEN_UP:
                return
            continue
        failed = 0
        yield name, found


def look_up(engine: Engine, source: Source, source_id: int, report: Callable[[str, int, int], None]) -> int:
    """Store where the names lead that are not known to the catalogue; return of how many that is known now."""
    with transaction(engine) as session:
        names = declared.dangling_names(session, source_id, MOST)
    known = 0
    for known, (name, found) in enumerate(located(source, names), 1):
        with transaction(engine) as session:
            target, hub_id = (found.name, found.hub_id) if found is not None else (None, None)
            declared.store_alias(session, source_id, name, target, hub_id)
        report(name, known, len(names))
    return known
