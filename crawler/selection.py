"""Which repositories a crawl by architecture follows, decided from what a listing carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from crawler.source import Listed

_CLASS_ENDINGS = re.compile(r"(For[A-Z]\w*|LMHeadModel|DoubleHeadsModel|PreTrainedModel|Model|LMHead|Pipeline)$")


def follows(row: Listed, patterns: Sequence[str]) -> bool:
    """Whether a row is asked for: any of the patterns will do, none asks for everything.

    A pattern is a name of config.architectures or a model type, in which * and ? stand for other letters. A row whose
    architectures the listing does not carry is judged by its model type and its tags, among which the Hub puts the
    model type: `LlamaForCausalLM` then asks for "llama".
    """
    if not patterns:
        return True
    for pattern in patterns:
        if any(fnmatchcase(name, pattern) for name in row.architectures or ()):
            return True
        if row.model_type is not None and fnmatchcase(row.model_type.lower(), pattern.lower()):
            return True
        if not row.architectures and model_type(pattern) in _words(row):
            return True
    return False


def model_type(pattern: str) -> str | None:
    """The model type that an architecture's class name begins with, in small letters only; None where it tells none."""
    stem = _CLASS_ENDINGS.sub("", pattern.rstrip("*?"))
    return _plain(stem) or None if not re.search(r"[*?\[]", stem) else None


def _words(row: Listed) -> set[str]:
    given: Iterable[str] = row.tags if row.model_type is None else (row.model_type,)
    return {_plain(word) for word in given}


def _plain(word: str) -> str:
    return re.sub(r"[-_ ]", "", word.lower())
