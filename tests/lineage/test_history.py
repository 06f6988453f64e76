"""Two runs of one family compared: every kind of change, what it is put down to, and what is no change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.history import Difference, RunRecord, Seen, difference

BASE, CHAT, CODE, TINY, ODD = range(5)
NAMES = ("base", "chat", "code", "tiny", "odd")


def seen(confidence: float = 0.9, relation: str = "finetune", *, decided: bool = True) -> Seen:
    return Seen(relation, confidence, decided)


def run(
    edges: dict[tuple[int, int], Seen], members: tuple[int, ...] = (BASE, CHAT, CODE, TINY), **more: Any
) -> RunRecord:
    """A run whose members stand in one tree below the first; all else as in every other run."""
    usual: dict[str, Any] = {
        "number": 1,
        "method": "recover",
        "parameters": {"decide": 0.5},
        "versions": {"code": "aa"},
        "metric_version": 4,
        "batches": (1,),
        "revisions": dict.fromkeys(members, "1"),
        "names": {one: NAMES[one] for one in members},
        "roots": dict.fromkeys(members, members[0]),
    }
    return RunRecord(**{**usual, **more}, edges=edges)


OLD = run({(BASE, CHAT): seen(), (BASE, CODE): seen(), (CHAT, TINY): seen()})


def kinds(found: Difference) -> list[tuple[str, str]]:
    return [(change.kind, found.name(change.child)) for change in found.edges]


def test_a_run_does_not_differ_from_itself() -> None:
    found = difference(OLD, OLD)
    assert found.same
    assert found.settings == ()


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({(BASE, CHAT): seen(), (BASE, CODE): seen()}, [("removed", "tiny")]),
        ({**OLD.edges, (CODE, TINY): seen()}, [("added", "tiny")]),
        ({(BASE, CHAT): seen(), (BASE, CODE): seen(), (CODE, TINY): seen()}, [("re-parented", "tiny")]),
        ({(CHAT, BASE): seen(), (BASE, CODE): seen(), (CHAT, TINY): seen()}, [("reversed", "base")]),
        ({**OLD.edges, (CHAT, TINY): seen(0.6)}, [("changed", "tiny")]),
        ({**OLD.edges, (CHAT, TINY): seen(decided=False)}, [("changed", "tiny")]),
        ({**OLD.edges, (CHAT, TINY): seen(relation="lora")}, [("changed", "tiny")]),
        ({**OLD.edges, (CHAT, TINY): seen(0.903)}, []),
    ],
)
def test_every_edge_that_differs_is_of_one_kind(
    edges: dict[tuple[int, int], Seen], expected: list[tuple[str, str]]
) -> None:
    found = difference(OLD, replace(OLD, edges=edges))
    assert kinds(found) == expected
    assert found.same == (not expected)


def test_an_edge_that_changed_keeps_both() -> None:
    (change,) = difference(OLD, replace(OLD, edges={**OLD.edges, (CHAT, TINY): seen(0.4, decided=False)})).edges
    assert (change.before, change.after) == ({CHAT: seen()}, {CHAT: seen(0.4, decided=False)})


def test_members_that_join_leave_or_have_a_new_revision_are_named_with_the_edges_they_touch() -> None:
    later = run(
        {(BASE, CHAT): seen(0.5), (CHAT, ODD): seen(), (CHAT, TINY): seen()},
        members=(BASE, CHAT, TINY, ODD),
        revisions={BASE: "1", CHAT: "2", TINY: "1", ODD: "1"},
    )
    found = difference(OLD, later)
    assert (found.joined, found.left, found.new_revision) == ((ODD,), (CODE,), (CHAT,))
    because = {(change.kind, change.child): change.because for change in found.edges}
    assert because["added", ODD] == ("chat has a new revision", "odd joined")
    assert because["removed", CODE] == ("code left",)
    assert because["changed", CHAT] == ("chat has a new revision",)


def test_a_change_that_touches_no_changed_member_is_put_down_to_its_tree_and_to_the_settings() -> None:
    edges = {**OLD.edges, (CHAT, TINY): seen(0.3)}
    joined = run({**edges, (BASE, ODD): seen()}, members=(BASE, CHAT, CODE, TINY, ODD), batches=(1, 2))
    changed = {change.child: change.because for change in difference(OLD, joined).edges}
    assert changed[TINY] == ("odd joined",)
    (change,) = difference(OLD, replace(OLD, edges=edges, parameters={"decide": 0.8}, method="mother")).edges
    assert change.because == ("another method", "another parameter decide")
    other = replace(OLD, edges=edges, parameters={"method": "mother", "c": 0.3}, method="mother")
    (change,) = difference(OLD, other).edges
    assert change.because == ("another method",)  # of which c is a part
    (change,) = difference(OLD, replace(OLD, edges=edges, batches=(7,))).edges
    assert change.because == ("other measures",)
    (change,) = difference(OLD, replace(OLD, edges=edges)).edges
    assert change.because == ()


def test_what_a_run_came_from_differs_by_name_and_none_stands_for_what_one_lacks() -> None:
    later = replace(OLD, method="mother", parameters={"c": 2.0}, versions={"code": "bb"}, metric_version=5)
    assert difference(OLD, later).settings == (
        ("method", "recover", "mother"),
        ("parameter c", None, 2.0),
        ("parameter decide", 0.5, None),
        ("version of code", "aa", "bb"),
        ("version of measures", 4, 5),
    )


def test_a_renamed_model_has_neither_left_nor_joined() -> None:
    found = difference(OLD, replace(OLD, names={**OLD.names, CHAT: "talk"}))
    assert (found.joined, found.left, found.renamed) == ((), (), (CHAT,))
    assert found.same
    assert found.name(CHAT) == "talk"


def test_duplicates_absent_parents_and_roots_are_compared_too() -> None:
    pair, trio = frozenset({CHAT, CODE}), frozenset({CHAT, CODE, TINY})
    later = replace(OLD, duplicates=frozenset({pair}), absent=frozenset({trio}), roots={**OLD.roots, TINY: TINY})
    found = difference(OLD, later)
    assert (found.new_duplicates, found.new_absent, found.rerooted) == ((pair,), (trio,), (TINY,))
    back = difference(later, OLD)
    assert (back.lost_duplicates, back.lost_absent, back.rerooted) == ((pair,), (trio,), (TINY,))
    assert not found.same


EDGES = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda pair: pair[0] != pair[1]),
    st.builds(seen, st.sampled_from([0.2, 0.9])),
)


@given(EDGES, EDGES)
def test_the_changes_of_edges_lead_from_the_one_run_to_the_other(
    before: dict[tuple[int, int], Seen], after: dict[tuple[int, int], Seen]
) -> None:
    everybody = tuple(range(5))
    edges = dict(before)
    changes = difference(run(before, everybody), run(after, everybody)).edges
    for change in changes:
        for parent in change.before:
            del edges[(change.child, parent) if change.kind == "reversed" else (parent, change.child)]
    for change in changes:
        edges |= {(parent, change.child): now for parent, now in change.after.items()}
    assert edges == after
