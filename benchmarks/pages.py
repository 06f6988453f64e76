"""Tables that a benchmark puts into a page, between markers of its name."""

from __future__ import annotations


def markers(name: str) -> tuple[str, str]:
    """Begin and end, as they stand in a page."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def between_markers(page: str, name: str, text: str) -> str:
    """The page with `text` between its markers. Raises ValueError unless it has both, once and in order."""
    first, last = markers(name)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in after:
        raise ValueError(f"the page needs {first} and, after it, {last}, once each")
    return f"{before}{begin}\n{text}\n{end}{after}"


def with_markers(page: str, name: str, heading: str) -> str:
    """The page, with an empty section at its end where it has no markers of that name."""
    begin, end = markers(name)
    return page if begin in page else f"{page.rstrip()}\n\n## {heading}\n\n{begin}\n{end}\n"
