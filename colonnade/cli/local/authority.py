# SPDX-License-Identifier: Apache-2.0
"""`colonnade ca`: exchange the authority that signs the certificates of our own processes.

First both authorities are trusted by all, then the new one signs, then the old one is trusted no
more. Each step waits until every amphora has taken the one before, so nothing is ever without a
peer that trusts it. Ended in the middle, the same command goes on where it was.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonnade.cli.local import finding

if TYPE_CHECKING:
    from colonnade.domain.fleet import Amphora
    from colonnade.runtime.config import Config
    from colonnade.store.postgres.database import Database

LOOK_S = 1.0
TOLD_EVERY = 5  # looks; amphorae ask by themselves each minute, and at once when they are told
NAMED_MAX = 5

authority = typer.Typer(
    name="ca", help="The authority of the processes' own certificates.", no_args_is_help=True
)


@authority.callback()
def _group() -> None:
    """Makes `rotate` a word of its own."""


@authority.command()
def rotate(
    *,
    one_step: Annotated[
        bool,
        typer.Option(
            "--one-step",
            help="Take one step only, and say which files to copy to the other machines.",
        ),
    ] = False,
    within_s: Annotated[
        float, typer.Option("--within", help="Seconds to wait for amphorae in each step.", min=0)
    ] = 600.0,
    config: finding.ConfigFile = None,
    state: finding.State = None,
) -> None:
    """Rotate the internal certificate authority, while everything runs. Repeat it after a
    failure."""
    settings = finding.settings_of(config, state)
    asyncio.run(_rotate(settings, within_s, one_step=one_step))


async def _rotate(config: "Config", within_s: float, *, one_step: bool) -> None:
    from colonnade.cli.local import identities
    from colonnade.cli.local.identities import Exchange
    from colonnade.store.postgres.database import Database
    from colonnade.store.postgres.places import login

    pki = config.pki_dir
    database = await Database.connect(login(config))
    try:
        while True:
            match identities.exchange(pki):
                case Exchange.NOT_BEGUN:
                    identities.trust_next(pki)
                    done = "both authorities are trusted"
                case Exchange.BOTH_TRUSTED:
                    identities.trust_next(pki)  # an earlier call may have been ended in the middle
                    await _until_taken(database, _trusts_others(pki), within_s)
                    identities.sign_with_next(pki)
                    done = "the new authority signs"
                case Exchange.NEW_SIGNS:
                    await _until_taken(database, _is_of_another(pki), within_s)
                    identities.trust_present_only(pki)
                    typer.echo("the old authority is trusted no more")
                    return
            typer.echo(done)
            if one_step:
                typer.echo(
                    f"copy ca.pem, and ca-key.pem where there is one, from {pki} to all machines, "
                    "then run this again"
                )
                return
    finally:
        await database.close()


def _trusts_others(pki: Path) -> "Callable[[Amphora], bool]":
    from colonnade.cli.local.identities import load_authority

    wanted = load_authority(pki).trusted
    return lambda amphora: amphora.authorities != wanted


def _is_of_another(pki: Path) -> "Callable[[Amphora], bool]":
    from colonnade.cli.local.identities import load_authority

    wanted = load_authority(pki).name
    return lambda amphora: amphora.issuer != wanted


async def _until_taken(
    database: "Database", is_behind: "Callable[[Amphora], bool]", within_s: float
) -> None:
    """Return when no living amphora is behind; controllers are asked to tell those that are."""
    from colonnade.domain.errors import Unavailable
    from colonnade.domain.lifecycle import State
    from colonnade.store.fleet import amphora_rows
    from colonnade.store.queue import work

    living = {State.BOOTING, State.SPARE, State.CARRYING, State.SERVING, State.LEAVING}
    deadline = asyncio.get_running_loop().time() + within_s
    look = 0
    while True:
        async with database.transaction() as connection:
            everyone = await amphora_rows.everyone(connection)
            behind = [one.id for one in everyone if one.state in living and is_behind(one)]
            if look % TOLD_EVERY == 0:
                for amphora_id in behind:
                    await work.mark(connection, f"amphora:{amphora_id}")
        if not behind:
            return
        if asyncio.get_running_loop().time() >= deadline:
            some = ", ".join(behind[:NAMED_MAX]) + (" ..." if len(behind) > NAMED_MAX else "")
            raise Unavailable(
                f"{len(behind)} amphorae have not taken the last step yet: {some}. Nothing is "
                "broken. Run this again, or fail them over first if they do not come back"
            )
        look += 1
        await asyncio.sleep(LOOK_S)
