"""What a reply says of the Hub's quotas: RateLimit, RateLimit-Policy and Retry-After.

The Hub follows version 9 of draft-ietf-httpapi-ratelimit-headers in its own way
(https://huggingface.co/docs/hub/rate-limits): `RateLimit: "api";r=489;t=123` and
`RateLimit-Policy: "fixed window";"api";q=500;w=300`. Proxies and mirrors send other names, several items and the names
of older drafts; what cannot be read is left out, whatever the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, get_args

Bucket = Literal["api", "resolvers"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)

LONGEST_WAIT = 3600.0  # seconds: whoever asks for more is asked again after so long
_LARGEST_QUOTA = 10**9
_LONGEST_WINDOW = 86_400.0  # seconds
_LONGEST_HEADER = 4096  # characters that are read
_PAGES = "pages"  # the Hub's bucket of web pages, which are never asked for
_ITEM = re.compile(r'(?:"[^"]*"|[^,"])+')
_PART = re.compile(r'(?:"[^"]*"|[^;"])+')
_KEYS = {
    "r": "r", "remaining": "r", "t": "t", "reset": "t", "q": "q", "limit": "q", "w": "w", "window": "w",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_RESOLVE = re.compile(r"/(?:(?:models|datasets|spaces|kernels)/)?[^/]+(?:/[^/]+)?/resolve/")


@dataclass(frozen=True)
class Report:
    """What a reply says of one bucket; None where it says nothing. Windows and resets are seconds."""

    quota: int | None = None
    window: float | None = None
    remaining: int | None = None
    reset: float | None = None


def bucket_of(path: str) -> Bucket | None:
    """The bucket that a request counts in, by its path below the endpoint; None where it costs nothing there.

    `/{repository}/resolve/...` is the resolvers', and `/api/resolve-cache/...`, to which it leads; `/api/...` is the
    API's. Signed addresses, the local Hub's `/cdn/...` as well, have neither form.
    """
    if path.startswith("/api/"):
        return "resolvers" if path.startswith("/api/resolve-cache/") else "api"
    return "resolvers" if _RESOLVE.match(path) else None


def counts_on_api(headers: Mapping[str, str], status: int) -> bool:
    """Whether the reply to a resolve was counted in the API's bucket.

    "Redirects and errors count on the API bucket" (CONTRACT.md), yet each resolve that succeeds is a redirect too. So
    an error counts, and else what the reply names the API's; where it names nothing, a redirect to another resolve
    address, which is that of a renamed repository.
    """
    named = _reports(headers)
    if status >= 400 or "api" in named:
        return True
    location = headers.get("location", "")[:_LONGEST_HEADER] if 300 <= status < 400 else ""
    return not named and _RESOLVE.match(re.sub(r"^https?://[^/]*", "", location)) is not None


def reports(headers: Mapping[str, str], asked: Bucket) -> dict[Bucket, Report]:
    """What the reply to a request in bucket `asked` says, by bucket. Look-ups in `headers` ignore case or are lower.

    What has no name, or is alone and has an unknown one, is said of the bucket that was asked.
    """
    found = _reports(headers)
    nameless = found.pop("", None)
    known: dict[Bucket, Report] = {bucket: found[bucket] for bucket in BUCKETS if bucket in found}
    unknown = [report for name, report in found.items() if name not in BUCKETS and name != _PAGES]
    if nameless is None and not known and len(unknown) == 1:
        nameless = unknown[0]
    if nameless is not None:
        known.setdefault(asked, nameless)
    return known


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, None where it asks for none.

    A date is read relative to the reply's own Date, so that neither clock need be right.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return min(float(text), LONGEST_WAIT)
    moment = _date(text)
    if moment is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT)


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text[:100])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _reports(headers: Mapping[str, str]) -> dict[str, Report]:
    """By bucket's name; of several statements on one bucket, the least that remains and the slowest policy."""
    limits: dict[str, dict[str, float]] = {}
    for name, values in _items(headers.get("ratelimit", "")):
        before = limits.get(name, {})
        if name == "":  # the older drafts' `limit=10, remaining=4, reset=7`: one statement in three items
            limits[name] = {**before, **values}
        elif "r" in values and values["r"] <= before.get("r", values["r"]):
            limits[name] = values
    policies: dict[str, tuple[float, float]] = {}
    for name, values in _items(headers.get("ratelimit-policy", "")):
        quota, window = values.get("q", 0), values.get("w", 0)
        if not (1 <= quota <= _LARGEST_QUOTA and 0 < window <= _LONGEST_WINDOW):
            continue
        before_q, before_w = policies.get(name, (quota, window))
        if quota * before_w <= before_q * window:
            policies[name] = quota, window
    if len(limits) == len(policies) == 1 and "" in policies:  # a policy without a name is that of the one limit
        policies = dict.fromkeys(limits, policies[""])
    return {name: _report(limits.get(name, {}), policies.get(name)) for name in limits | policies}


def _report(limit: dict[str, float], policy: tuple[float, float] | None) -> Report:
    reset = limit.get("t")
    return Report(
        quota=int(policy[0]) if policy else None,
        window=policy[1] if policy else None,
        remaining=int(min(limit["r"], _LARGEST_QUOTA)) if "r" in limit else None,
        reset=min(reset, LONGEST_WAIT) if reset is not None else None,
    )


def _items(header: str) -> Iterator[tuple[str, dict[str, float]]]:
    """(bucket's name in lower case or "", numbers) of each item that has a number."""
    for item in _ITEM.findall(header[:_LONGEST_HEADER]):
        names: list[str] = []
        values: dict[str, float] = {}
        for part in _PART.findall(item):
            key, equals, value = part.partition("=")
            word = key.strip().strip('"').strip().lower()
            number = value.strip().strip('"').strip()
            if not equals and _NUMBER.fullmatch(word):  # `500;w=300`, as older drafts write a policy
                values.setdefault("q", float(word))
            elif not equals and word:
                names.append(word)
            elif word in _KEYS and _NUMBER.fullmatch(number):
                values[_KEYS[word]] = float(number)
        if values:
            # Of `"fixed window";"api"` the bucket is the name that is one, else the last.
            yield next((name for name in names if name in BUCKETS), names[-1] if names else ""), values
