"""What replies say of quotas, in the Hub's words and in stranger ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rate_limit import LONGEST_WAIT, Report, bucket_of, counts_on_api, reports, retry_after

FULL = Report(500, 300.0, 489, 123.0)


@pytest.mark.parametrize(
    ("limit", "policy", "expected"),
    [
        ('"api";r=489;t=123', '"fixed window";"api";q=500;w=300', FULL),
        ("api;r=489;t=123", "api;q=500;w=300", FULL),
        (' "API" ; r = 489 ; t = 123 ', ' "fixed window" ; "api" ; q = 500 ; w = 300 ', FULL),
        ('"api";t=123;r="489";pk=:xyz:', '"api";w=300;q="500";qu="requests"', FULL),
        ('"default";r=489;t=123', '"default";q=500;w=300', FULL),
        ('"default";r=489;t=123', "500;w=300", FULL),
        ("limit=500, remaining=489, reset=123", "500;w=300", FULL),
        ('"pages";r=1;t=2, "api";r=489;t=123', '"a, b";"pages";q=9;w=1, "x";"api";q=500;w=300', FULL),
        ('"api";r=489;t=123', "", Report(None, None, 489, 123.0)),
        ("", '"fixed window";"api";q=500;w=300', Report(500, 300.0, None, None)),
        ('"api";r=489;t=123, "api";r=700;t=9', '"burst";"api";q=50;w=1, "long";"api";q=500;w=300', FULL),
        ('"api";r=489;t=0.5', '"api";q=9;w=1.5', Report(9, 1.5, 489, 0.5)),
        ('"api";r=489;t=123', '"api";q=0;w=300', Report(None, None, 489, 123.0)),
        ('"api";r=489;t=123', '"api";q=5;w=0', Report(None, None, 489, 123.0)),
        ('"api";r=489;t=999999', '"api";q=5;w=99999999', Report(None, None, 489, LONGEST_WAIT)),
    ],
)
def test_headers_are_read_in_the_hubs_form_and_in_those_of_others(limit: str, policy: str, expected: Report) -> None:
    assert reports({"ratelimit": limit, "ratelimit-policy": policy}, "api") == {"api": expected}


@pytest.mark.parametrize(
    "limit", ["", ";", ",", '"', '"api"', "api;r=-1;t=x", '"pages";r=0;t=9', "r", "=", '"api";r=1e3', "0x1"]
)
def test_what_cannot_be_read_is_left_out(limit: str) -> None:
    assert reports({"ratelimit": limit}, "api") == {}


def test_each_bucket_gets_what_is_said_of_it() -> None:
    headers = {"ratelimit": '"api";r=1;t=2,"resolvers";r=3;t=4', "ratelimit-policy": '"w";"resolvers";q=9;w=7'}
    assert reports(headers, "api") == {"api": Report(None, None, 1, 2.0), "resolvers": Report(9, 7.0, 3, 4.0)}
    assert reports({"ratelimit": '"api";r=1;t=2'}, "resolvers") == {"api": Report(None, None, 1, 2.0)}


@given(st.text(alphabet='"api;,=rtqw0123 \x00é'), st.text(alphabet='"api;,=rtqw0123 '))
def test_no_header_raises_and_all_numbers_are_sane(limit: str, policy: str) -> None:
    for report in reports({"ratelimit": limit, "ratelimit-policy": policy}, "api").values():
        assert report.quota is None or 0 < report.quota <= 10**9
        assert report.window is None or 0 < report.window <= 86_400
        assert report.remaining is None or report.remaining >= 0
        assert report.reset is None or 0 <= report.reset <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("99999999", LONGEST_WAIT),
        ("Wed, 21 Oct 2015 07:29:00 GMT", 60),
        ("Wed, 21 Oct 2015 07:29:00 -0000", 60),
        ("Wed, 21 Oct 2015 07:29:00 +0100", 0),
        ("Tue, 20 Oct 2015 07:29:00 GMT", 0),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("Wed, 99 Oct 2015 07:29:00 GMT", None),
    ],
)
def test_retry_after_is_read_by_the_clock_of_the_server_that_sent_it(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}) == seconds


def test_a_date_without_a_clock_beside_it_is_read_by_ours() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT"}) == 0


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_retry_after_raises(text: str, date: str) -> None:
    assert 0 <= (retry_after({"retry-after": text, "date": date}) or 0) <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        ("/api/models", "api"),
        ("/api/models/org/name/tree/main", "api"),
        ("/api/resolve-cache/models/org/name/sha/config.json", "resolvers"),
        ("/org/name/resolve/main/config.json", "resolvers"),
        ("/gpt2/resolve/main/a/b.json", "resolvers"),
        ("/datasets/org/name/resolve/main/x", "resolvers"),
        ("/cdn/org/name/sha/model.safetensors", None),
        ("/repos/ab/cd/0123", None),
        ("/org/name", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_belongs_to_its_bucket(path: str, bucket: str | None) -> None:
    assert bucket_of(path) == bucket


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (302, {"location": "https://cdn.example/repos/ab/cd"}, False),
        (307, {"location": "/api/resolve-cache/models/org/name/sha/config.json"}, False),
        (307, {"location": "/org/new/resolve/main/config.json"}, True),
        (404, {}, True),
        (200, {}, False),
        (404, {"ratelimit": '"resolvers";r=1;t=2'}, True),
        (307, {"ratelimit": '"resolvers";r=1;t=2', "location": "/org/new/resolve/main/x"}, False),
        (307, {"location": "https://hub.example/org/new/resolve/main/x"}, True),
        (302, {"ratelimit": '"api";r=1;t=2', "location": "https://cdn.example/"}, True),
    ],
)
def test_failed_and_renamed_resolves_count_on_the_api(status: int, headers: dict[str, str], expected: bool) -> None:
    assert counts_on_api(headers, status) is expected
