"""Logs of what runs unattended: lines for people, or JSON, with job, family and model, and never a secret.

All loggers end here, those of libraries as well. What a block of work is about is bound by `about` and stands in every
line that is written in it; a thread of one's own takes it along by `contextvars.copy_context().run`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from structlog.typing import Processor

Format = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")

_HIDDEN = "***"
_SHORTEST = 6  # characters of a known secret: shorter ones would blot out ordinary words
_LOUD = ("httpx2", "httpcore2", "filelock", "numba", "asyncio")  # that tell of each step what nobody asks for
_SECRET_NAMES = re.compile(r"(?i)^(authorization|cookie|(.*[_-])?(token|password|passwd|secret|api[_-]?key))$")
_PATTERNS = (
    (re.compile(r"\b(?:hf_(?:oauth_|jwt_)?|api_org_)[A-Za-z0-9._-]{16,}"), _HIDDEN),  # the Hub's own tokens
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}"), rf"\1\2{_HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s]*@"), rf"\1:{_HIDDEN}@"),  # the password of an address
    (re.compile(r"(?i)([?&](?:x-amz-[a-z-]+|signature|policy|key-pair-id|sig|token)=)[^&\s\"'<>]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b(password|passwd|token|secret|api[_-]?key)(\s*=\s*)(?!\*)[^\s&\"',;)]+"), rf"\1\2{_HIDDEN}"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline: names must not steer a terminal


def masked(text: str, secrets: Collection[str] = ()) -> str:
    """The text without what looks like a token, a password or a signature, and without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def about(**what: Any) -> AbstractContextManager[None]:
    """Put `job`, `family`, `model` or whatever else is said into every line of a block."""
    return bound_contextvars(**what)


def configure(
    form: Format = "text", level: str = "info", *, stream: TextIO | None = None, secrets: Sequence[str] = ()
) -> None:
    """Send all logs to a stream, stderr by default; calling it again changes that. Raises ValueError for other levels.

    `secrets`: what must not appear, whatever it looks like: the token, the database's password.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level: expected one of {', '.join(LEVELS)}")
    target = sys.stderr if stream is None else stream
    before: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _of_procrastinate,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _Mask(secrets),
    ]
    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(form, target)],
        )
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *[one for one in before if not isinstance(one, structlog.stdlib.ExtraAdder)],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it is found again."""


class _Mask:
    """Masks all of an event, whatever is in it; what is neither text, number nor a collection becomes its repr."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {name: value if name.startswith("_") else self._value(name, value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if _SECRET_NAMES.match(name):
            return _HIDDEN
        if isinstance(value, Mapping):
            return {masked(str(key), self._secrets): self._value(str(key), one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value("", one) for one in value]
        text = masked(value if isinstance(value, str) else repr(value), self._secrets)
        return text if name in {"exception", "stack"} else text.replace("\n", "\\n")


def _of_procrastinate(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What procrastinate says of its jobs and workers, in our words: numbers and names instead of nested records."""
    job, worker = event.get("job"), event.get("worker")
    if isinstance(job, Mapping):
        event.update(job=job.get("id"), task=job.get("task_name"), queue=job.get("queue"))
    if isinstance(worker, Mapping):
        event["worker"] = worker.get("worker_id")
    return event


def _renderer(form: Format, stream: TextIO) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=True)
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
