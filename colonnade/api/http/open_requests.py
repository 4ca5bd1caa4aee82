# SPDX-License-Identifier: Apache-2.0
"""Requests that are held open (streams of events, `?wait=`): so many of one caller and no more.

Each holds a connection and is looked after for minutes. Without a bound those of one token would
slow everybody. Counted in each process for itself.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from colonnade.domain.errors import Throttled

AGAIN_S: Final = 5.0


class OpenRequests:
    def __init__(self, *, of_project: int = 100, of_token: int = 50) -> None:
        self._most = {"project": of_project, "token": of_token}
        self._open: Counter[tuple[str, str]] = Counter()

    def take(self, project: str | None, user: str) -> Callable[[], None]:
        """A place; call what is returned to give it back, once or more. Raises Throttled.

        `user` "": callers who say nothing of themselves, and only their project counts."""
        names = [("project", project or "")]
        if user:
            names.append(("token", f"{project or ''}/{user}"))
        for kind, name in names:
            if self._open[kind, name] >= self._most[kind]:
                raise Throttled(
                    f"Too many event streams and waiting requests of this {kind} are open: at most "
                    f"{self._most[kind]} may be at a time.",
                    after_s=AGAIN_S,
                )
        self._open.update(names)
        place = ExitStack()  # closed a second time, it does nothing
        place.callback(self._give_back, names)
        return place.close

    @property
    def held(self) -> int:
        """How many are open, of all projects."""
        return sum(count for (kind, _), count in self._open.items() if kind == "project")

    def _give_back(self, names: Iterable[tuple[str, str]]) -> None:
        self._open.subtract(names)
        self._open += Counter()  # forget those that have none

    @contextmanager
    def place(self, project: str | None, user: str) -> Iterator[None]:
        """A place while the context lasts. Raises Throttled."""
        give_back = self.take(project, user)
        try:
            yield
        finally:
            give_back()


def until_gone(thing: Any, give_back: Callable[[], None]) -> None:
    """Give the place back at the latest when the thing is gone: a stream that nobody ever began to
    read does not end by itself."""
    weakref.finalize(thing, give_back)
