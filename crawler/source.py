"""Where models come from: the protocol that the Hub and a folder of models both satisfy, and the records they give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from db.errors import Failure


@dataclass(frozen=True)
class Query:
    """Which repositories a crawl is after; an empty query means all of them."""

    author: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()  # names or shell patterns; see crawler.selection
    ids: tuple[str, ...] = ()  # explicit repositories: looked up one by one instead of listed
    limit: int | None = None

    @property
    def words(self) -> dict[str, Any]:
        """As the catalogue stores it, and jobs carry it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Listed:
    """One row of a listing."""

    name: str  # "org/name", or a legacy bare name
    hub_id: str | None = None  # the Hub's ObjectId, which survives a rename
    sha: str | None = None  # newest commit, where the listing carries it
    author: str | None = None
    created_at: datetime | None = None
    last_modified: datetime | None = None
    downloads: int | None = None
    likes: int | None = None
    private: bool = False
    gated: str | None = None  # None, "auto" or "manual"
    disabled: bool = False
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    architectures: tuple[str, ...] | None = None  # None: the listing does not carry the config
    model_type: str | None = None
    parameters: int | None = None  # as the source counts them
    formats: tuple[str, ...] | None = None  # of the weights, by the files' names; None: these are not told
    config: dict[str, Any] | None = None  # as far as it tells the architecture and how weights are stored
    card_data: dict[str, Any] | None = None  # the card's YAML, as far as it tells of parents and licences
    base_models: Any = None  # {"relation": str, "models": [{"_id": str, "id": str}]}


@dataclass(frozen=True)
class Page:
    """One page of a listing; `cursor` asks for the next one, None ends the listing.

    `oldest` is the earliest modification that a page in the order of modification goes back to.
    """

    rows: tuple[Listed, ...]
    cursor: str | None
    oldest: datetime | None = None


@dataclass(frozen=True)
class RemoteFile:
    """One file of a revision."""

    path: str
    size: int  # bytes; -1 where the source does not tell it
    blob_id: str | None = None  # git sha1
    sha256: str | None = None  # of the content, for large files
    xet_hash: str | None = None


@dataclass(frozen=True)
class Details:
    """What a source says of one revision of a repository, without reading weights."""

    listed: Listed
    sha: str
    files: tuple[RemoteFile, ...]
    config: dict[str, Any] | None = None  # config.json as far as the source carries it
    card_data: dict[str, Any] | None = None  # the card's YAML as the source parsed it, if it did
    base_models: dict[str, Any] | None = None  # {"relation": str, "models": [{"id": str}]}
    commit_titles: tuple[str, ...] = ()  # as far as they were asked for, the oldest first


class Wanted(Protocol):
    """Bytes that are wanted of a file: from `start` on, as many as the buffer takes."""

    @property
    def name(self) -> str:
        """The repository."""

    @property
    def sha(self) -> str:
        """Its commit."""

    @property
    def path(self) -> str:
        """The file in it."""

    @property
    def start(self) -> int:
        """The first byte, counted from the beginning of the file."""

    @property
    def buffer(self) -> memoryview:
        """Where they go; writable."""


@dataclass(frozen=True, eq=False)
class Part:
    """A `Wanted` to be made where one is needed."""

    name: str
    sha: str
    path: str
    start: int
    buffer: memoryview


class ByParts(ABC):
    """What reads parts over a network; a single one is read the same way."""

    request_bytes = 4 << 20

    @abstractmethod
    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """As `Source.read_many`."""

    def read_range(self, name: str, sha: str, path: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises the part's failure, and ValueError for a negative range."""
        if not 0 <= start <= stop:
            raise ValueError(f"[{start}, {stop}) is no range of bytes")
        buffer = bytearray(stop - start)
        self.read_into(name, sha, path, start, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on. Raises the part's failure."""
        (failure,) = self.read_many([Part(name, sha, path, start, buffer)])
        if failure is not None:
            raise failure


class Source(Protocol):
    """A place with models. Every method may raise SourceUnreachable, Transient or RepositoryUnavailable."""

    @property
    def name(self) -> str:
        """What identifies this source in the catalogue: an endpoint's address or a folder's file: address."""

    @property
    def request_bytes(self) -> int:
        """The least that is worth a request of its own: less costs hardly less time."""

    def pages(self, query: Query, cursor: str | None = None, *, newest_first: bool = False) -> Iterator[Page]:
        """Pages of the listing from `cursor` on, in a stable order: by creation, or by last modification backwards."""

    def newest(self, query: Query) -> datetime | None:
        """The last modification in the listing; None for a source that cannot list what has changed."""

    def locate(self, name: str) -> Listed | None:
        """The repository that a name leads to, maybe under another one; None where it leads to nothing.

        Much depends on the latter, so a source that may be mistaken asks again before it says so.
        """

    def details(self, name: str) -> Details:
        """The newest revision of one repository, with its files' sizes and hashes."""

    def size_of(self, name: str, sha: str, path: str) -> int:
        """A file's size in bytes, where `details` did not tell it."""

    def read_small(self, name: str, sha: str, path: str, limit: int) -> bytes:
        """A whole small file. Raises CardMalformed (README.md) or ConfigMalformed above `limit` bytes."""

    def read_range(self, name: str, sha: str, path: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises RangeNotHonoured; HeaderMalformed where the file is shorter."""

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on, verified, without a second copy of them in memory."""

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """Fill the buffers of many parts, in whatever requests are cheapest; how it went with each, in their order.

        The failure of one part stops no other; only SourceUnreachable is raised. What a failed part's buffer holds is
        not defined.
        """

    def close(self) -> None:
        """Let go of connections."""
