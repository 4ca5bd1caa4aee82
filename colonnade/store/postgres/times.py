# SPDX-License-Identifier: Apache-2.0
"""Times as they are shown: in UTC, to the second, without zone. In Python and in SQL, alike."""

from datetime import UTC, datetime


def time(at: datetime | None) -> str | None:
    if at is None:
        return None
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="seconds")[:19]


def time_sql(expression: str) -> str:
    """The text of a timestamptz; NULL stays NULL."""
    return f"""to_char({expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')"""
