"""Asking the source for declared parents that the catalogue does not hold: where a name leads, if anywhere.

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
    from collections.abc import Callable

    from sqlalchemy import Engine

    from crawler.source import Source

MOST = 1_000  # names in one crawl, those first that most models declare; the next crawl asks for more
GIVEN_UP = 5  # failures of the source in a row

log = logging.getLogger(__name__)


def look_up(engine: Engine, source: Source, source_id: int, report: Callable[[str, int, int], None]) -> int:
    """Store where the names lead that are not known to the catalogue; return how many were asked for."""
    with transaction(engine) as session:
        names = declared.dangling_names(session, source_id, MOST)
    failed = 0
    for number, name in enumerate(names):
        report(name, number, len(names))
        try:
            found = source.locate(name, sure=True)  # what it leads to is not asked for again
        except Failure as failure:  # asked for again by the next crawl
            failed += 1
            if failed == GIVEN_UP:
                log.warning("names are not looked up any further: %s", failure)
                return number
            continue
        failed = 0
        with transaction(engine) as session:
            target, hub_id = (found.name, found.hub_id) if found is not None else (None, None)
            declared.store_alias(session, source_id, name, target, hub_id)
    if names:
        report("", len(names), len(names))
    return len(names)
