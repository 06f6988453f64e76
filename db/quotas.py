"""What a Hub grants an account, and what all workers of all machines together have used of it.

Each change is one statement that holds its row while it looks and writes. Time is PostgreSQL's clock_timestamp(), so
that machines whose clocks are wrong agree; a Hub's reset comes in as seconds from now.

A row is one fixed window. It ends at `resets_at`, which is never before the Hub's own window ends, as far as its
replies have told; whoever leases first thereafter begins the next one. Permits are leased for LEASE_SECONDS at most
and never into the last DEAD seconds of a window, in which the Hub may already count the next: so a permit is used in
the window that it was counted in, and no more than `share` of the quota leaves in any window.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

LEASE_SECONDS = 1.0  # and so long until a worker hears of a 429 that another met
ROUNDING = 1.0  # seconds: the Hub tells whole ones. No less than a lease, so that none outlives a reset that is told
DEAD = 2.5  # seconds before the end of a window: the rounding, up or down, and a request's way
HELD_SECONDS = 30.0  # of a permit of the API that is held in case a resolve fails, which counts there
MOST_SPARE = 10  # permits of the API, but a tenth at most, that can only be held
UNLIMITED = 1_000_000_000  # a quota that stands for none, as of a Hub that tells none
KEPT_FOR_OTHERS = 0.2  # of the share that is not ours: while others use the quota too, so much of it is left to them


@dataclass(frozen=True)
class Key:
    """A row: `account` is "anonymous" or a digest of the token, never the token."""

    endpoint: str
    account: str
    bucket: str


@dataclass(frozen=True)
class Grant:
    """The answer to a lease. `permits` are good for `valid` seconds from before the question was asked.

    `wait`: seconds after which to ask again, where there are none. `valid_until`: by the ledger's own clock, for
    `give_back`.
    """

    permits: int
    valid: float
    wait: float
    valid_until: datetime | float = 0.0


@dataclass(frozen=True)
class QuotaStatus:
    """A row as it is now: `allowed` = the share of the quota, `used` by us, `remaining` less what was leased since.

    Seconds to `resets_s` are 0 where the window is over and nobody has asked since.
    """

    endpoint: str
    account: str
    bucket: str
    quota: int
    window_s: float
    learnt: bool
    share: float
    allowed: int
    used: int
    remaining: int | None
    resets_s: float
    blocked_s: float


# Of windows of a few seconds, which only tests have, something must be left.
_DEAD = f"""make_interval(secs => CASE
    WHEN quota < {UNLIMITED} THEN least({DEAD}, (window_s + {ROUNDING}) * 0.75) ELSE 0
END)"""
_KEY = "endpoint = :endpoint AND account = :account AND bucket = :bucket"
# The row as it is when its lock is had, not as it was when the statement began.
_TIMED = f"""
    WITH held AS (SELECT * FROM quotas WHERE {_KEY} FOR UPDATE),
    timed AS (SELECT *, clock_timestamp() AS now FROM held)
"""  # noqa: S608  # of constants
_LEASE = text(
    f"""
    {_TIMED}, present AS (
        SELECT now, learnt, CAST(:held AS boolean) AS held,
            bucket = 'api' AND NOT CAST(:held AS boolean) AS spared,
            greatest(1, floor(quota * CAST(:share AS float8)))::bigint AS allowed,
            floor(quota * (1 - CAST(:share AS float8)) * {KEPT_FOR_OTHERS})::bigint AS kept,
            {_DEAD} AS dead,
            CASE WHEN resets_at > now THEN used ELSE 0 END AS used,
            CASE WHEN resets_at > now THEN remaining END AS remaining,
            CASE
                WHEN resets_at > now THEN resets_at ELSE now + make_interval(secs => window_s + {ROUNDING})
            END AS resets_at,
            CASE WHEN blocked_until > now THEN blocked_until END AS blocked_until
        FROM timed
    ), limited AS (
        SELECT *,
            least(
                resets_at - dead,
                now + make_interval(secs => CASE WHEN held THEN {HELD_SECONDS} ELSE {LEASE_SECONDS} END)
            ) AS valid_until,
            least(
                allowed - used - CASE WHEN spared THEN least({MOST_SPARE}, allowed / 10) ELSE 0 END,
                CASE WHEN NOT held THEN remaining - kept END
            ) AS free
        FROM present
    ), granted AS (
        SELECT *,
            CASE
                WHEN (blocked_until IS NOT NULL AND NOT held) OR valid_until <= now OR free < 1 THEN 0
                WHEN learnt AND remaining IS NULL THEN 1
                ELSE least(CAST(:wanted AS bigint), greatest(1, free / 8))
            END AS permits
        FROM limited
    )
    UPDATE quotas SET
        share = CAST(:share AS float8),
        used = granted.used + granted.permits,
        remaining = granted.remaining - least(granted.permits, granted.remaining),
        resets_at = granted.resets_at,
        blocked_until = granted.blocked_until,
        updated_at = granted.now
    FROM granted
    WHERE {_KEY}
    RETURNING
        granted.permits,
        CAST(extract(epoch FROM granted.valid_until - granted.now) AS float8),
        CAST(extract(epoch FROM coalesce(granted.blocked_until, granted.resets_at) - granted.now) AS float8),
        granted.valid_until
    """  # noqa: S608  # of constants
)
_BEGIN = text(
    f"""
    INSERT INTO quotas (endpoint, account, bucket, quota, window_s, share, resets_at)
    VALUES (
        :endpoint, :account, :bucket, :quota, CAST(:window_s AS float8), CAST(:share AS float8),
        clock_timestamp() + make_interval(secs => CAST(:window_s AS float8) + {ROUNDING})
    )
    ON CONFLICT DO NOTHING
    """  # noqa: S608  # of constants
)
_GIVE_BACK = text(
    f"""
    UPDATE quotas SET
        used = greatest(used - CAST(:permits AS bigint), 0),
        remaining = remaining + CAST(:permits AS bigint),
        updated_at = clock_timestamp()
    WHERE {_KEY} AND clock_timestamp() < CAST(:valid_until AS timestamptz)
    """  # noqa: S608  # of constants
)
# A reply speaks of this window where its request left in it and the Hub's next one cannot have begun.
_LEARN = text(
    f"""
    {_TIMED}, told AS (
        SELECT now,
            CAST(:quota AS bigint) AS quota,
            coalesce(CAST(:window_s AS float8), window_s) AS window_s,
            CAST(:remaining AS bigint) AS remaining,
            now + make_interval(secs => CAST(:reset_s AS float8) + {ROUNDING}) AS resets_at,
            now + make_interval(secs => CAST(:blocked_s AS float8)) AS blocked_until,
            now < resets_at - {_DEAD}
            AND now - make_interval(secs => CAST(:elapsed_s AS float8))
                >= resets_at - make_interval(secs => window_s + {ROUNDING}) AS fresh
        FROM timed
    )
    UPDATE quotas SET
        quota = coalesce(told.quota, quotas.quota),
        learnt = learnt OR told.quota IS NOT NULL,
        window_s = told.window_s,
        remaining = CASE WHEN fresh THEN least(quotas.remaining, told.remaining) ELSE quotas.remaining END,
        resets_at = CASE WHEN fresh THEN coalesce(told.resets_at, quotas.resets_at) ELSE quotas.resets_at END,
        blocked_until = greatest(quotas.blocked_until, told.blocked_until),
        updated_at = now
    FROM told
    WHERE {_KEY}
    """  # noqa: S608  # of constants
)
_STATUS = text(
    """
    WITH timed AS (SELECT *, clock_timestamp() AS now FROM quotas)
    SELECT endpoint, account, bucket, quota, window_s, learnt, share,
        greatest(1, floor(quota * share))::bigint AS allowed,
        CASE WHEN resets_at > now THEN used ELSE 0 END AS used,
        CASE WHEN resets_at > now THEN remaining END AS remaining,
        CAST(greatest(extract(epoch FROM resets_at - now), 0) AS float8) AS resets_s,
        CAST(greatest(extract(epoch FROM blocked_until - now), 0) AS float8) AS blocked_s
    FROM timed ORDER BY endpoint, account, bucket
    """
)


def lease(
    connection: Connection,
    key: Key,
    *,
    share: float,
    wanted: int,
    default: tuple[int, float],
    held: bool = False,
) -> Grant:
    """Up to `wanted` permits, fewer where little is left, none where the share is used up or the Hub said to wait.

    `default`: requests and seconds of a window, where nothing is known of the key yet. `held`: for HELD_SECONDS, from
    what is spared for this as well, and whatever the Hub says of the bucket: it may never be used.
    """
    values = {**asdict(key), "share": share, "wanted": wanted, "held": held}
    row = connection.execute(_LEASE, values).one_or_none()
    if row is None:
        connection.execute(_BEGIN, {**asdict(key), "share": share, "quota": default[0], "window_s": default[1]})
        row = connection.execute(_LEASE, values).one()
    return Grant(*row)


def give_back(connection: Connection, key: Key, permits: int, grant: Grant) -> None:
    """Return what was not used of a lease; what comes back too late stays counted."""
    connection.execute(_GIVE_BACK, {**asdict(key), "permits": permits, "valid_until": grant.valid_until})


def learn(
    connection: Connection,
    key: Key,
    *,
    quota: int | None = None,
    window_s: float | None = None,
    remaining: int | None = None,
    reset_s: float | None = None,
    blocked_s: float | None = None,
    elapsed_s: float = 0.0,
) -> None:
    """Take in what a reply said whose request left `elapsed_s` ago; None: it did not say.

    `remaining` only falls within a window, since replies overtake each other. `blocked_s`: nobody asks for so long.
    """
    told = {
        "quota": quota,
        "window_s": window_s,
        "remaining": remaining,
        "reset_s": reset_s,
        "blocked_s": blocked_s,
        "elapsed_s": elapsed_s,
    }
    connection.execute(_LEARN, {**asdict(key), **told})


def status_rows(session: Session) -> list[QuotaStatus]:
    """All quotas as they are now, by endpoint, account and bucket."""
    return [QuotaStatus(**row) for row in session.execute(_STATUS).mappings()]
