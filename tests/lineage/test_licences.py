"""Names of licences in cards, and the rules that they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage import licences
from lineage.licences import Declared, read_declared, rule, rules

HUB = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl
mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2
llama3 llama3.1 llama3.2 llama3.3 llama4 gemma apple-ascl apple-amlr intel-research h-research unknown other
"""


def ids(license_: Any, **more: Any) -> tuple[frozenset[str], ...]:
    return read_declared({"license": license_, **more}).alternatives


@pytest.mark.parametrize("name", HUB.split())
def test_every_licence_that_the_hub_names_has_a_rule(name: str) -> None:
    assert rule(name).id == name
    assert ids(name) == (frozenset((name,)),)


def test_rules_are_whole_and_refer_to_one_another_by_ids_that_exist() -> None:
    content = json.loads((Path(licences.__file__).parent / "licences.json").read_text())
    assert "not legal advice" in content["about"].lower()
    known = rules()
    assert len(known) == len(content["licences"])
    for one in known.values():
        assert one.duties.keys() <= content["duties"].keys()
        assert all(one.duties.values()), "every duty names its section"
        assert urlsplit(one.url).scheme == "https"
        assert one.compatible | one.carried_by | one.akin | one.clashes <= known.keys()
        assert ("non-commercial" in one.duties) == (one.commercial is False)
        assert ("no-derivatives" in one.duties) == (one.derivatives is False)
        assert ("naming" in one.duties) == bool(one.name_prefix and one.shows)
        assert one.clear == bool(one.commercial is not None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Apache-2.0", [{"apache-2.0"}]),
        ("Apache License 2.0", [{"apache-2.0"}]),
        ("GPL-3.0-or-later", [{"gpl-3.0"}]),
        ("CC BY-NC 4.0", [{"cc-by-nc-4.0"}]),
        ("LLaMA 2", [{"llama2"}]),
        ("Llama 3 Community License Agreement", [{"llama3"}]),
        ("Apache-2.0 OR MIT", [{"apache-2.0"}, {"mit"}]),
        ("MIT AND (Apache-2.0 OR llama3.1)", [{"apache-2.0", "mit"}, {"llama3.1", "mit"}]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", [{"gpl-2.0"}]),
        (["mit", "cc-by-nc-4.0"], [{"mit"}, {"cc-by-nc-4.0"}]),
        (["mit"], [{"mit"}]),
        ("Beerware", [{"beerware"}]),
        ("our own words", [{"our-own-words"}]),
        ("MIT OR", [{"mit-or"}]),
        ("", []),
        (None, []),
        ({"name": "mit"}, []),
        ([], []),
        (True, []),
    ],
)
def test_what_stands_for_a_licence_is_read(written: Any, expected: list[set[str]]) -> None:
    assert list(ids(written)) == [frozenset(one) for one in expected]


def test_a_licence_of_spdx_without_a_rule_is_unclear_and_has_its_text() -> None:
    assert (rule("beerware").kind, rule("beerware").url) == ("unclear", "https://spdx.org/licenses/Beerware.html")
    assert (rule("our-own-words").clear, rule("our-own-words").url) == (False, "")


def test_other_means_what_license_name_says_where_we_know_it() -> None:
    assert ids("other", license_name="llama-3-community-license") == (frozenset(("llama3",)),)
    assert ids("other", license_name="house rules") == (frozenset(("other",)),)
    found = read_declared({"license_name": "house rules", "license_link": "LICENSE"})
    assert (found.names, found.name, found.link) == (("other",), "house rules", "LICENSE")
    assert str(found) == "other (house rules)"


def test_tags_count_where_the_card_says_nothing() -> None:
    assert read_declared(None, ["license:gemma", "license:mit", "x"]).ids == ("gemma", "mit")
    assert read_declared(None, ["license:gemma"]).where == "tags"
    assert read_declared({"license": "mit"}, ["license:gemma"]) == Declared(
        ("mit",), (frozenset(("mit",)),), where="card"
    )
    assert read_declared(None) == read_declared("text") == Declared()


def test_all_of_an_ancestors_list_apply() -> None:
    found = read_declared({"license": ["mit", "cc-by-nc-4.0"]})
    assert found.together == (frozenset(("mit", "cc-by-nc-4.0")),)
    assert read_declared({"license": "MIT OR GPL-3.0"}).together == (frozenset(("mit",)), frozenset(("gpl-3.0",)))


def test_expressions_of_many_choices_stay_small() -> None:
    many = " AND ".join(f"(MIT OR GPL-{number}.0-only)" for number in (2, 3)) + " AND (ISC OR Zlib)" * 8
    assert len(ids(many)) <= licences.ALTERNATIVES_LIMIT


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be loaded
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda some: st.lists(some, max_size=3)))
def test_nothing_that_people_write_stops_the_reading(written: Any) -> None:
    for identifier in read_declared({"license": written, "license_name": written}).ids:
        assert rule(identifier).id == identifier
