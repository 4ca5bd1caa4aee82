# SPDX-License-Identifier: Apache-2.0
"""An event loop whose clock jumps, with processes in it that can be stopped and killed.

Nothing waits for time: when there is nothing to do, the clock jumps to the next timer. It stands
still while an answer of the real database is waited for. A process is whatever was begun by
`Process.begin`, with all tasks that follow from it. A stopped one (SIGSTOP) does nothing, and its
timers do not fire, until it goes on. A killed one does nothing any more.
"""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

STUCK_S: Final = 30.0  # of real time: the database does not answer
_PROCESS: Final[contextvars.ContextVar["Process | None"]] = contextvars.ContextVar(
    "process", default=None
)


class _Selector(selectors.DefaultSelector):
    """Waits for real answers only; where there is nothing else, time passes in no time."""

    loop: "WorldLoop"

    def select(self, timeout: float | None = None) -> Any:
        waits_for_answers = len(self.get_map()) > 1  # the first one is the loop's own
        if waits_for_answers or (timeout is not None and timeout <= 0):
            found = super().select(0 if timeout is not None and timeout <= 0 else STUCK_S)
            assert found or timeout == 0 or not waits_for_answers, "the database does not answer"
            return found
        assert timeout is not None, "nothing will ever happen again"
        self.loop.now += timeout
        return super().select(0)


class WorldLoop(asyncio.SelectorEventLoop):
    """Seconds of the world are those of `time()`."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda _loop, _context: None)  # of tasks that were killed

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        process = context.get(_PROCESS) if context is not None else _PROCESS.get()
        if process is None or not process.is_stopped:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context or contextvars.copy_context())
        process.held.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        process = context.get(_PROCESS) if context is not None else _PROCESS.get()
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        timer = super().call_at(when, _nothing, context=context)
        fired: Any = timer
        fired._callback, fired._args = process.fire, (timer, callback, args)
        return timer

    def resume(self, handles: list[asyncio.Handle]) -> None:
        cast(Any, self)._ready.extend(handles)


class Process:
    """One that may be stopped and killed. While it is `busy` it is within a transaction: what is
    done to it then is done at the transaction's end, because half of one is none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_stopped = False
        self.is_dead = False
        self.busy = 0
        self.held: list[asyncio.Handle] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._pending: list[Callable[[], None]] = []

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(_PROCESS.set, self)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def fire(self, timer: asyncio.TimerHandle, callback: Any, args: tuple[Any, ...]) -> None:
        """A timer that is due; while the process is stopped, it is so later."""
        if self.is_stopped:
            context = contextvars.copy_context()
            self.held.append(_Late(timer, callback, args, context))
        else:
            callback(*args)

    def stop(self) -> None:
        self._when_idle(self._stop)

    def go_on(self) -> None:
        self._pending = [act for act in self._pending if act != self._stop]
        self.is_stopped = False
        held, self.held = self.held, []
        live = [h for h in held if not h.cancelled()]
        cast(WorldLoop, asyncio.get_running_loop()).resume(live)

    def kill(self) -> None:
        """From now on none of its calls does anything."""
        self._when_idle(self._kill)

    def enter(self) -> None:
        self.busy += 1

    def leave(self) -> None:
        self.busy -= 1
        if not self.busy:
            pending, self._pending = self._pending, []
            for act in pending:
                act()

    def _when_idle(self, act: Callable[[], None]) -> None:
        if self.busy:
            self._pending.append(act)
        else:
            act()

    def _stop(self) -> None:
        self.is_stopped = not self.is_dead

    def _kill(self) -> None:
        self.is_dead = True
        self.go_on()  # to its end
        for task in list(self._tasks):
            task.cancel()

    async def ended(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Late(asyncio.Handle):
    """A timer that became due while its process was stopped; it may be cancelled meanwhile."""

    def __init__(
        self, timer: asyncio.TimerHandle, callback: Any, args: Any, context: contextvars.Context
    ) -> None:
        super().__init__(callback, args, asyncio.get_running_loop(), context)
        self._timer = timer

    def cancelled(self) -> bool:
        return super().cancelled() or self._timer.cancelled()


def _nothing() -> None:
    """Until the timer knows itself."""


def here() -> Process | None:
    """The process that runs now; None for the world itself."""
    return _PROCESS.get()


def outside(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of the world, which no stopped process holds up."""
    context = contextvars.copy_context()
    context.run(_PROCESS.set, None)
    return asyncio.get_running_loop().create_task(work, context=context)
