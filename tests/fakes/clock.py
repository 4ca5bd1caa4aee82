# SPDX-License-Identifier: Apache-2.0
"""A clock that a test moves."""


class Time:
    """Stands still, but for what a test lets pass."""

    def __init__(self, start: float = 1000.0) -> None:
        self.at = start

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
