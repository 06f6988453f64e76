"""The errors of hublineage, one tree.

    HublineageError
    ├── UsageError                what the user asked for makes no sense                       exit 2
    ├── NothingToDo               the job cannot start or found nothing to work on             exit 3
    │   ├── DatabaseUnreachable   no PostgreSQL answers at DATABASE_URL
    │   ├── OutputUnwritable      the folder or file of an export is full, closed to us or another's
    │   └── SourceUnreachable     no Hub answers at the endpoint, or the folder is not there
    └── Failure                   one model is bad: stored as that revision's failure, the run goes on
        ├── Transient             the network or the Hub, worth another try by itself
        ├── RepositoryUnavailable gated, private, disabled, deleted
        ├── CardMalformed         the card's YAML header cannot be read
        ├── ConfigMalformed       config.json, adapter_config.json or an index cannot be read
        ├── WeightsMissing        no safetensors, or a shard that the index names is not there
        ├── HeaderMalformed       a safetensors header that contradicts itself or its file
        ├── RangeNotHonoured      the server sent other bytes than were asked for
        ├── TensorUnusable        a tensor's numbers cannot be measured (NaN, infinity, unknown dtype)
        └── WorkerLost            workers die of it, one after the other

The docstring of a class is its message; `str(error)` adds the particulars: the model, the file and the tensor where
they are known, and what was expected. Errors live in `db` because each ends as a row of `failures` or as an exit code;
the pure mathematics of `lineage` knows none of them and raises ValueError where it is misused.
"""

from __future__ import annotations


class HublineageError(Exception):
    """hublineage cannot do this."""

    exit_code = 1

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail)

    @property
    def message(self) -> str:
        """The first line of the class's docstring, without its full stop."""
        return (type(self).__doc__ or "").strip().splitlines()[0].removesuffix(".")

    def __str__(self) -> str:
        return f"{self.message}: {self.detail}" if self.detail else self.message


class UsageError(HublineageError):
    """Wrong usage."""

    exit_code = 2


class NothingToDo(HublineageError):  # noqa: N818  # a state, not a fault of the program
    """Nothing could be done."""

    exit_code = 3


class DatabaseUnreachable(NothingToDo):
    """No PostgreSQL answers at this address."""


class OutputUnwritable(NothingToDo):
    """The export cannot be written."""


class SourceUnreachable(NothingToDo):
    """The source of models does not answer."""


class Failure(HublineageError):  # noqa: N818  # stored in the table of that name
    """This model could not be used."""

    def __init__(self, detail: str, *, model: str = "", file: str | None = None, tensor: str | None = None) -> None:
        super().__init__(detail)
        self.model = model
        self.file = file
        self.tensor = tensor

    @property
    def reason(self) -> str:
        """The message without the model, file and tensor, which are stored in columns of their own."""
        return f"{self.message}: {self.detail}"

    def __str__(self) -> str:
        place = " ".join(part for part in (self.model, self.file, self.tensor) if part)
        return f"{place}: {self.reason}" if place else self.reason


class Transient(Failure):
    """The Hub or the network failed for the moment."""


class RepositoryUnavailable(Failure):
    """The repository cannot be read."""


class CardMalformed(Failure):
    """The model card's header cannot be read."""


class ConfigMalformed(Failure):
    """A configuration file cannot be read."""


class WeightsMissing(Failure):
    """The repository's weights are not there."""


class HeaderMalformed(Failure):
    """The safetensors header is malformed."""


class RangeNotHonoured(Failure):
    """The server sent other bytes than were asked for."""


class TensorUnusable(Failure):
    """The tensor cannot be measured."""


class WorkerLost(Failure):
    """Workers died of it."""
