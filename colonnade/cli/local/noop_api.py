# SPDX-License-Identifier: Apache-2.0
"""`colonnade api --noop`: the user API alone on a database, for conformance suites.

Nothing is served: every provider's name means the noop provider. Without a database of its own
one is started, and without a state folder everything is in a temporary one that is gone
afterwards. Only the API process and PostgreSQL run, as children that end with this one. This
process forgets what is kept for a time, as a controller does.
"""

import asyncio
import contextlib
import shutil
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from colonnade.api.server.binding import address_of, check_address
from colonnade.cli.local import folders
from colonnade.cli.local.children import STOP_S, colonnade, tied
from colonnade.cli.local.identities import ensure_master_key
from colonnade.cli.local.offices import hand_out, of_office
from colonnade.cli.local.starting import (
    api_answers,
    make_state,
    only_one,
    place,
    run,
    started,
    stop_signal,
)
from colonnade.cli.waiting import until
from colonnade.controller.loop import Loop
from colonnade.controller.sweeping import Sweeping
from colonnade.domain.errors import Broken, Invalid
from colonnade.runtime.config import Config, Kept, read_config, write_config
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate
from colonnade.store.postgres.places import login
from colonnade.store.queue import work

READY_S_MAX = 60.0


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for; what is empty has a default."""

    config: Path | None = None
    state: Path | None = None
    database_url: str = ""
    listen: str = ""  # "HOST:PORT"


def run_noop(wish: Wish) -> int:
    return run("api --noop", _run(wish))


async def _run(wish: Wish) -> None:
    stop = stop_signal()
    async with contextlib.AsyncExitStack() as stack:
        state = stack.enter_context(_state(wish.state))
        stack.enter_context(only_one(state))
        stack.callback(folders.remove_run_dir, state)
        run_dir = folders.run_dir(state)
        postgres = None
        if not wish.database_url and wish.config is None:
            postgres = EmbeddedPostgres(state, run_dir, durable=wish.state is not None)
        config = _config(wish, state, run_dir, postgres)
        check_address(config.api)
        file = run_dir / "noop.toml"
        serving = asyncio.create_task(_serve(config, file, postgres, stack))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _serve(
    config: Config, file: Path, postgres: EmbeddedPostgres | None, stack: contextlib.AsyncExitStack
) -> None:
    """Raises Broken when the API ends by itself."""
    if postgres is not None:
        await stack.enter_async_context(started(postgres))
    url = login(config)
    await asyncio.to_thread(migrate, url())
    ensure_master_key(config.pki_dir)
    write_config(file, config)
    await stack.enter_async_context(_sweeping(url(), config.kept))
    argv: Sequence[str] = colonnade("api", "--config", str(file))
    if postgres is not None:  # a database of somebody else's knows us by the name that we have
        hand_out(config, file)
        argv = of_office("api", argv, config, file)
    process = await stack.enter_async_context(_api(argv))
    ended = asyncio.create_task(process.wait())

    async def answers() -> bool:
        return ended.done() or await api_answers(config.api)

    await until(answers, within_s=READY_S_MAX, what="the API to answer")
    if not ended.done():
        print(f"ready: http://{address_of(config.api)}", flush=True)
    raise Broken(f"the API ended with code {await ended}")


@contextlib.asynccontextmanager
async def _sweeping(url: str, kept: Kept) -> AsyncIterator[None]:
    """No controller runs, whose work it is. It is one key, so others on this database share it."""
    database = await Database.when_there(url)
    async with database.transaction() as connection:
        await work.mark(connection, "sweeping:all")
    sweeping = asyncio.create_task(Loop(database, {"sweeping": Sweeping(database, kept)}).run())
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await database.close()


@contextlib.asynccontextmanager
async def _api(argv: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*tied(argv), start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.contextmanager
def _state(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        wanted = wanted.resolve()
        make_state(wanted)
        yield wanted
        return
    folder = Path(tempfile.mkdtemp(prefix="colonnade-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _config(wish: Wish, state: Path, run_dir: Path, postgres: EmbeddedPostgres | None) -> Config:
    above: dict[str, Any] = {
        "state_dir": str(state),
        "run_dir": str(run_dir),
        "network_url": "",
        "api": {"noop": True},
    }
    if postgres is not None or wish.database_url:
        above["database_url"] = postgres.url if postgres else wish.database_url
    if wish.listen:
        above["api"] |= place(wish.listen)
    if wish.config is not None:
        try:
            return read_config(wish.config, above)
        except (OSError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
            raise Invalid(f"{wish.config}: {error}") from error
    above["api"]["default_provider"] = "noop"
    return msgspec.convert(above, Config, dec_hook=lambda kind, text: kind(text))
