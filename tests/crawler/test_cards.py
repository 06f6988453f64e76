"""Cards as people write them: everything is read or explained, nothing raises."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cards import parse_card


def data_of(header: str) -> dict[str, Any] | None:
    return parse_card(f"---\n{header}\n---\nText.\n".encode()).data


def test_a_plain_card_is_read() -> None:
    card = parse_card(b"---\nlicense: mit\nbase_model:\n- org/name\n---\n# Title\n")
    assert card.data == {"license": "mit", "base_model": ["org/name"]}
    assert card.problem is None
    assert card.body == "# Title\n"


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"# Only text", b"Text\n---\nmore\n---\nend", b"---\nA rule above.\n"]
)
def test_a_card_without_a_header_has_no_data(content: bytes) -> None:
    assert parse_card(content).data is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf---\nlicense: mit\n---\n",
        b"---\r\nlicense: mit\r\n---\r\n",
        b"---\rlicense: mit\r---\r",
        b"\n\n---\nlicense: mit\n---",
        b"---  \nlicense: mit\n---  \n",
    ],
    ids=["a byte order mark", "CRLF", "CR", "blank lines above", "trailing blanks"],
)
def test_encodings_of_lines_do_not_matter(content: bytes) -> None:
    card = parse_card(content)
    assert card.data == {"license": "mit"}
    assert card.problem is None


def test_words_and_dates_stay_what_was_written() -> None:
    assert data_of(
        "language: no\ndate: 2023-02-30\nyes: on\nn: 12\nx: 1.5\nt: true\nempty:\nid: '12'\nclock: 12:30:45"
    ) == {
        "language": "no",
        "date": "2023-02-30",
        "yes": "on",
        "n": 12,
        "x": 1.5,
        "t": True,
        "empty": None,
        "id": "12",
        "clock": "12:30:45",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"---\nlicense: mit\ntags: [a\n---\n", "YAML at line"),
        (b"---\n- a\n- b\n---\n", "expected a mapping"),
        (b"---\njust words\n---\n", "expected a mapping"),
        (b"---\na: &x 1\nb: &x 2\n---\n", "YAML at line 3"),
        (b"---\na: *unknown\n---\n", "YAML at line 2"),
        (b"---\nx: " + b"y" * 300_000 + b"\n---\n", "at most"),
        (b"---\nx: " + b"[" * 100_000 + b"\n---\n", "levels"),
        (b"---\n" + b"- " * 100_000 + b"\n---\n", "levels"),
        (b"---\nx: &x [*x]\n---\n", "levels"),
    ],
)
def test_a_header_that_cannot_be_read_says_why_in_one_line(content: bytes, words: str) -> None:
    card = parse_card(content)
    assert card.data is None
    assert card.problem is not None
    assert words in card.problem
    assert "\n" not in card.problem


def test_a_bomb_of_aliases_costs_nothing() -> None:
    levels = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]" for i in range(1, 20))
    merges = "\n".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, 40))
    began = time.perf_counter()
    bomb = parse_card(f"---\nk0: &k0 [x]\n{levels}\n---\n".encode())
    merged = parse_card(f"---\nm0: &m0 {{x: 1}}\n{merges}\n---\n".encode())
    assert time.perf_counter() - began < 2
    assert "levels" in (bomb.problem or "")
    assert "levels" in (merged.problem or "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Hello\n---\nlicense: mit\n---\n", "line 2, expected the top"),
        (b"---\nlicense: mit\n\n# Title\n", "no closing"),
        (b"---\nlicense: mit\nname: caf\xe9\n---\n", "not UTF-8 at byte"),
        ("---\nlicense: mit\n---\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_can_be_read_in_spite_of_a_problem_is_read(content: bytes, words: str) -> None:
    card = parse_card(content)
    assert card.data is not None
    assert card.data["license"] == "mit"
    assert words in (card.problem or "")


def test_values_can_be_stored() -> None:
    data = data_of('a: "x\\0y"\nb: .nan\nc: 99999999999999999999999999\nd: !!binary "zz"\n? [k]\n: v')
    assert data == {"a": "xy", "b": ".nan", "c": float("99999999999999999999999999"), "d": "zz"}


LINES = st.lists(
    st.sampled_from(
        ["---", "license: mit", "a: [", "- x", "b: &b [*b]", "? {", "<<: *b", "\t", "# T", "base_model: o/n"]
    )
    | st.text(max_size=12),
    max_size=12,
)


@given(st.binary(max_size=200) | LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_card_that_can_be_stored(content: bytes) -> None:
    card = parse_card(content)
    text = json.dumps(card.data, allow_nan=False)
    assert "\\u0000" not in text
    json.loads(text)
    card.body.encode()
