"""Reads what there is to know of one revision without its weights: card, configurations, headers."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from crawler.architecture import Architecture, architecture
from crawler.cards import Card, parse_card
from crawler.doubt import TIMES, is_doubtful
from crawler.mergekit import merge_parents
from crawler.plain import plain
from crawler.safetensors_header import check_shards, join_shards, parse_index, read_header
from crawler.weights import weight_files
from db.errors import (
    CardMalformed,
    ConfigMalformed,
    Failure,
    HeaderMalformed,
    RepositoryUnavailable,
    TensorUnusable,
    Transient,
    WeightsMissing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crawler.safetensors_header import Header, Index
    from crawler.source import Details, RemoteFile, Source

CARD_LIMIT = 4 << 20  # bytes; larger ones are no model cards
CONFIG_LIMIT = 4 << 20
INDEX_LIMIT = 64 << 20
_SHA1 = 40  # hex digits


class Description:
    """What was read of one revision; what went wrong on the way is in `failures`, with its stage."""

    def __init__(self, source: Source, details: Details) -> None:
        self._source = source
        self._details = details
        self._files = {file.path: file for file in details.files}
        self.failures: list[tuple[str, Failure]] = []
        self.card: Card | None = None
        self.config = details.config
        self.adapter_config: dict[str, Any] | None = None
        self.quantize_config: dict[str, Any] | None = None
        self.mergekit_config: bytes | None = None
        self.weights = "failed"
        self.headers: dict[str, Header] = {}
        self.architecture: Architecture | None = None

    def read(self) -> None:
        """Read card, configuration and headers; what cannot be read is in `failures`."""
        self._try("card", self._read_card)
        self._try("describe", self._read_adapter_config)
        self._try("describe", self._read_config)
        self._try("describe", self._read_quantize_config)
        self._try("describe", self._read_mergekit_config)
        self._try("describe", self._read_headers)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing that another try may bring."""
        return not any(isinstance(failure, Transient) for _, failure in self.failures)

    def _try(self, stage: str, read: Callable[[], None]) -> None:
        try:
            read()
        except Failure as failure:
            failure.model = self._details.listed.name
            self.failures.append((stage, failure))

    @contextmanager
    def _listed(self, path: str) -> Iterator[None]:
        """A file that the Hub lists and refuses without a reason: one of the two is wrong, and the next crawl tells."""
        listed = self._details.listed
        try:
            yield
        except RepositoryUnavailable as failure:
            if listed.hub_id is None or listed.gated or listed.disabled or not is_doubtful(failure):
                raise
            raise Transient(f"the Hub lists the file, but: {failure.detail}", file=path) from failure

    def _small(self, path: str, limit: int) -> bytes:
        """A small file, read again where its hash says that it is not what came.

        What comes three times in a row is believed: there are mirrors whose hashes are of another kind.
        """
        came: list[bytes] = []
        for _ in range(TIMES):
            with self._listed(path):
                came.append(self._source.read_small(self._details.listed.name, self._details.sha, path, limit))
            if _is_whole(came[-1], self._files[path]) or came[-3:] == came[-1:] * 3:
                return came[-1]
        raise Transient("its hash is another one than the Hub's", file=path)

    def _json(self, path: str) -> dict[str, Any]:
        try:
            value = plain(json.loads(self._small(path, CONFIG_LIMIT)))
        except (ValueError, RecursionError) as error:
            raise ConfigMalformed(f"no JSON: {error}", file=path) from error
        if not isinstance(value, dict):
            raise ConfigMalformed(f"expected an object, found {type(value).__name__}", file=path)
        return value

    def _read_card(self) -> None:
        if self._details.card_data is not None:
            self.card = Card(self._details.card_data)
        if "README.md" not in self._files or self._details.listed.gated:
            return
        card = parse_card(self._small("README.md", CARD_LIMIT))
        self.card = card if card.data is not None or self.card is None else Card(self.card.data, None, card.body)
        if card.problem is not None:
            raise CardMalformed(card.problem, file="README.md")

    def _read_adapter_config(self) -> None:
        if "adapter_config.json" in self._files:
            self.adapter_config = self._json("adapter_config.json")

    def _read_config(self) -> None:
        if self.config is None and "config.json" in self._files:
            self.config = self._json("config.json")

    def _read_quantize_config(self) -> None:
        if "quantize_config.json" in self._files:
            self.quantize_config = self._json("quantize_config.json")

    def _read_mergekit_config(self) -> None:
        if "mergekit_config.yml" in self._files:
            self.mergekit_config = self._small("mergekit_config.yml", CONFIG_LIMIT)
            merge_parents(self.mergekit_config)  # to say what is wrong with it

    def _read_headers(self) -> None:
        if self._details.listed.disabled:
            raise RepositoryUnavailable("the Hub has disabled it")
        try:
            chosen = weight_files(list(self._files))
        except WeightsMissing as failure:
            # A shard that is missing is a fault; to hold no safetensors at all is a state.
            self.weights = "failed" if failure.file else "none"
            raise
        index: Index | None = None
        paths = chosen.files
        if chosen.index is not None:
            index = parse_index(self._small(chosen.index, INDEX_LIMIT), file=chosen.index)
            check_shards(index, self._files, file=chosen.index)
            paths = index.shards
        headers = {path: self._header(self._files[path]) for path in paths}
        joined = join_shards(headers, index)
        has_adapter = "adapter_config.json" in self._files
        found = architecture((spec for _, spec in joined.values()), self.config, has_adapter_config=has_adapter)
        if found.kind == "unusable":
            file = paths[0] if len(paths) == 1 else None if found.culprit is None else joined[found.culprit][0]
            raise TensorUnusable(found.reason or "", file=file, tensor=found.culprit)
        self.headers = headers
        self.architecture = found
        self.weights = "adapter" if found.kind == "adapter" else "safetensors"

    def _header(self, file: RemoteFile) -> Header:
        name, sha = self._details.listed.name, self._details.sha

        def read(start: int, stop: int) -> bytes:
            with self._listed(file.path):
                return self._source.read_range(name, sha, file.path, start, stop)

        def once() -> Header:
            size = file.size if file.size >= 0 else self._source.size_of(name, sha, file.path)
            return read_header(read, size, file=file.path)

        for _ in range(1, TIMES):  # nothing but its own sense tells whether the bytes are those of a header
            with suppress(HeaderMalformed):
                return once()
        return once()


def _is_whole(content: bytes, file: RemoteFile) -> bool:
    """Whether the content has the hash that the source tells: its own sha256, else git's name for it."""
    if file.sha256 is not None:
        return hashlib.sha256(content).hexdigest() == file.sha256
    if file.blob_id is None or len(file.blob_id) != _SHA1:
        return True
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.blob_id
