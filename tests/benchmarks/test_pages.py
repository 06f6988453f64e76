"""Tables find their place in a page."""

from __future__ import annotations

import pytest

from benchmarks.pages import between_markers, markers, with_markers

BEGIN, END = markers("speed")


def test_the_text_goes_between_the_markers_only_where_both_are() -> None:
    assert between_markers(f"a {BEGIN} b {END} c", "speed", "new") == f"a {BEGIN}\nnew\n{END} c"
    for page in ("", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        with pytest.raises(ValueError, match="speed: begin"):
            between_markers(page, "speed", "new")


def test_a_page_without_a_place_for_the_tables_gets_one_at_its_end() -> None:
    page = with_markers("# Figures\n", "speed", "How fast")
    assert page == f"# Figures\n\n## How fast\n\n{BEGIN}\n{END}\n"
    assert with_markers(page, "speed", "How fast") == page
