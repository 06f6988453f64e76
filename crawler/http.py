"""HTTP to the Hub: every request has a permit, a name, and an end.

Each redirect is a request of its own here, with a permit and a deadline of its own. What huggingface_hub asks by itself
comes to the same discipline by `use_for_huggingface_hub`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import get_session, set_client_factory
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from huggingface_hub.utils._http import default_client_factory

from crawler.budget import Budget
from crawler.deadline import Deadline, TimedBody, keep_deadlines, within
from crawler.ledger import account_of
from crawler.observed import Exchange, Observe, ObservedBody, unobserved
from crawler.rate_limit import Bucket, bucket_of

NAME = "hublineage"
VERSION = version(NAME)
USER_AGENT = build_hf_headers(token=False, library_name=NAME, library_version=VERSION)["user-agent"]
DEADLINE = 120.0  # seconds for a whole request, its body included
TIMEOUT = httpx2.Timeout(connect=10.0, read=30.0, write=30.0, pool=60.0)
LIMITS = httpx2.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=30.0)

_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address, the port also where it is the scheme's own. None for one that is wrong."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme.lower(), parts.hostname or "", port or _PORTS.get(parts.scheme.lower())


@dataclass(frozen=True)
class _Rule:
    """What requests to an endpoint must keep; `endpoint` None: to any other."""

    endpoint: str | None
    budget: Budget | None
    timeout: httpx2.Timeout | None  # for requests that set none
    deadline: float | None
    observe: Observe = unobserved
    here: tuple[str, str, int | None] = field(init=False, default=("", "", None))
    below: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            object.__setattr__(self, "here", origin(self.endpoint))
            object.__setattr__(self, "below", urlsplit(self.endpoint).path.rstrip("/"))


_NO_RULE = _Rule(None, None, None, None)


class _Disciplined(httpx2.BaseTransport):
    """Sends each request by the rule that `rule_of` finds for it."""

    def __init__(self, inner: httpx2.BaseTransport, rule_of: Callable[[httpx2.Request], _Rule]) -> None:
        keep_deadlines(inner)
        self._inner = inner
        self._rule_of = rule_of

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        rule = self._rule_of(request)
        _set_timeouts(request, rule)
        path = request.url.raw_path.decode("ascii").partition("?")[0].removeprefix(rule.below)
        bucket = bucket_of(path) if rule.endpoint is not None else None  # other hosts are storages
        if rule.budget is None or bucket is None:
            return self._send(request, rule, bucket)
        rule.budget.take(bucket)
        begun = time.monotonic()
        try:
            response = self._send(request, rule, bucket)
        except BaseException:
            rule.budget.learn(bucket, {}, 0, time.monotonic() - begun)
            raise
        try:
            rule.budget.learn(bucket, response.headers, response.status_code, time.monotonic() - begun)
        except BaseException:
            response.close()
            raise
        return response

    def _send(self, request: httpx2.Request, rule: _Rule, bucket: Bucket | None) -> httpx2.Response:
        seconds, begun = _seconds(request, rule), time.monotonic()
        deadline = Deadline(begun + seconds, seconds) if seconds is not None else None
        try:
            with within(deadline):
                response = self._inner.handle_request(request)
        except Exception as error:
            rule.observe(Exchange(bucket, None, time.monotonic() - begun, 0, type(error).__name__))
            raise
        if isinstance(response.stream, httpx2.SyncByteStream):
            timed = response.stream if deadline is None else TimedBody(response.stream, deadline)
            response.stream = ObservedBody(timed, bucket, response.status_code, begun, rule.observe)
        return response

    def close(self) -> None:
        self._inner.close()


def open_client(
    endpoint: str,
    budget: Budget | None,
    *,
    timeout: httpx2.Timeout = TIMEOUT,
    deadline: float | None = DEADLINE,
    user_agent: str = USER_AGENT,
    observe: Observe = unobserved,
) -> httpx2.Client:
    """A client that follows no redirect unless told to; safe to share between threads. Close it; the budget stays.

    Requests to `endpoint` take a permit of `budget` where they cost one (crawler.rate_limit.bucket_of). All of them,
    to other hosts as well, must be over within `deadline` seconds, or `extensions={"deadline": seconds}` of their own
    (None: no end). Else they raise httpx2.ReadTimeout, WriteTimeout or ConnectTimeout, whatever they waited for.
    `observe` is told of every one.
    """
    client = httpx2.Client(timeout=timeout, limits=LIMITS, headers={"user-agent": user_agent}, follow_redirects=False)
    rule = _Rule(endpoint, budget, None, deadline, observe)
    elsewhere = _Rule(None, None, None, deadline, observe)
    return _disciplined(client, lambda request: rule if origin(str(request.url)) == rule.here else elsewhere)


class _Rules:
    """The endpoints whose requests by huggingface_hub are disciplined; read by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: tuple[_Rule, ...] = ()

    def add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules = (*self._rules, rule)

    def remove(self, rule: _Rule) -> None:
        with self._lock:
            self._rules = tuple(one for one in self._rules if one is not rule)

    def of(self, request: httpx2.Request) -> _Rule:
        """That of the endpoint, of the newest that has the request's own account where several have."""
        here = origin(str(request.url))
        rules = [rule for rule in self._rules if rule.here == here]
        if len(rules) > 1:
            token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
            account = account_of(token)
            rules.sort(key=lambda rule: rule.budget is not None and rule.budget.account == account)
        return rules[-1] if rules else _NO_RULE


_rules = _Rules()


def use_for_huggingface_hub(
    endpoint: str,
    budget: Budget | None,
    *,
    timeout: httpx2.Timeout = TIMEOUT,
    deadline: float | None = DEADLINE,
    observe: Observe = unobserved,
) -> Callable[[], None]:
    """Discipline huggingface_hub's own requests to `endpoint` as those of `open_client`, until the result is called.

    Several endpoints, and several accounts at one, go side by side; requests to no such endpoint stay as they were.
    The first call in a process replaces the session that huggingface_hub shares between threads: make it before others
    use that. A session that it opens anew, after a fork or an error, is disciplined too.
    """
    rule = _Rule(endpoint, budget, timeout, deadline, observe)
    _rules.add(rule)
    with _installing:
        if not isinstance(get_session()._transport, _Disciplined):
            set_client_factory(_huggingface_client)
    return lambda: _rules.remove(rule)


_installing = threading.Lock()


def _huggingface_client() -> httpx2.Client:
    """As huggingface_hub makes it, with its hooks: offline mode, request ids, download counter."""
    return _disciplined(default_client_factory(), _rules.of)


def _disciplined(client: httpx2.Client, rule_of: Callable[[httpx2.Request], _Rule]) -> httpx2.Client:
    """The client with its transports wrapped. One given to httpx2.Client would do without the proxies it looks up."""
    client._transport = _Disciplined(client._transport, rule_of)
    client._mounts = {
        pattern: None if transport is None else _Disciplined(transport, rule_of)
        for pattern, transport in client._mounts.items()
    }
    return client


def _seconds(request: httpx2.Request, rule: _Rule) -> float | None:
    seconds: float | None = request.extensions.get("deadline", rule.deadline)
    return seconds


def _set_timeouts(request: httpx2.Request, rule: _Rule) -> None:
    """Put the rule's timeouts where the request has none, as most of huggingface_hub's.

    A connection of the pool is waited for until the deadline at most; this is no wait on the network.
    """
    timeouts: dict[str, Any] = dict(request.extensions.get("timeout") or {})
    if rule.timeout is not None:
        timeouts = {name: timeouts.get(name) or seconds for name, seconds in rule.timeout.as_dict().items()}
    limits = [seconds for seconds in (timeouts.get("pool"), _seconds(request, rule)) if seconds is not None]
    timeouts["pool"] = min(limits, default=None)
    request.extensions = {**request.extensions, "timeout": timeouts}
