# SPDX-License-Identifier: Apache-2.0
"""What a command changes in a cloud, one thing after the other, told in words.

Invariant: of what is there already nothing is changed, and with `pretend` nothing is at all.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Acts:
    def __init__(self, *, pretend: bool = False) -> None:
        self.pretend = pretend
        self.said: list[str] = []
        self.changes = 0  # that were made, or would be

    def there(self, what: str) -> None:
        self.said.append(f"there already is {what}")

    async def create(self, what: str, make: Callable[[], Awaitable[T]]) -> T | None:
        """None where it is only said. Raises what `make` does."""
        return await self._do("create", what, make)

    async def change(self, what: str, make: Callable[[], Awaitable[T]]) -> T | None:
        return await self._do("change", what, make)

    async def _do(self, verb: str, what: str, make: Callable[[], Awaitable[T]]) -> T | None:
        made = None if self.pretend else await make()
        self.changes += 1
        self.said.append(f"would {verb} {what}" if self.pretend else f"{verb}d {what}")
        return made
