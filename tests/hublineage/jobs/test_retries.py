"""What an error means for the job that met it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from db.errors import HeaderMalformed, SourceUnreachable, Transient, UsageError
from hublineage.jobs.retries import GivenBack, RateLimited, Verdict, judge, reason
from hublineage.settings import QueueSettings

SETTINGS = QueueSettings(tries=4, first_wait=10, longest_wait=25)


@pytest.mark.parametrize(
    "error",
    [
        SourceUnreachable("nobody answers"),
        Transient("502"),
        OperationalError("SELECT", {}, Exception("could not extend file: No space left on device")),
        OSError(28, "No space left on device"),
        MemoryError(),
    ],
)
def test_what_passes_is_tried_again_after_waits_that_double_up_to_a_limit(error: Exception) -> None:
    waits = [judge(error, failed, SETTINGS).wait for failed in range(4)]
    assert waits == [10, 20, 25, None]


def test_the_hub_says_when_its_quota_is_there_again_and_that_is_no_failure() -> None:
    assert judge(RateLimited("https://hub", 273), 3, SETTINGS) == Verdict(273, counts=False)
    assert judge(GivenBack("the worker stops"), 3, SETTINGS) == Verdict(0, counts=False)


@pytest.mark.parametrize("error", [UsageError("no"), HeaderMalformed("bad", model="a/b"), ValueError(), KeyError("x")])
def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    assert judge(error, 0, SETTINGS) == Verdict(None, counts=True)


def test_the_words_of_a_database_error_are_the_servers_without_the_statement() -> None:
    error = OperationalError("INSERT INTO secrets", {"token": "hf_x"}, Exception("disk\n full"))
    assert reason(error) == "disk full"
    assert reason(MemoryError()) == "MemoryError"
