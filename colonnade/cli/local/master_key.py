# SPDX-License-Identifier: Apache-2.0
"""`colonnade master-key`: exchange the key that all kept secrets are sealed with.

While it works the file has both keys: the first seals, either opens. Running processes see the
change by themselves. When the command is ended in the middle, run it again: it goes on where it
was. The old key is removed only when no secret is sealed with it any more. No key is ever printed.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonnade.cli.local import finding

if TYPE_CHECKING:
    from colonnade.runtime.config import Config

SETTLED_S = 10.0  # longer than any transaction that began before the file was exchanged
PASSES_MAX = 20

master_key = typer.Typer(
    name="master-key", help="The key that stored secrets are encrypted with.", no_args_is_help=True
)


@master_key.callback()
def _group() -> None:
    """Makes `rotate` a word of its own."""


@master_key.command()
def rotate(
    *,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Only add the new key to the file, so that it can be copied to all machines.",
        ),
    ] = False,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old", help="Leave the old key in the file; the next rotation removes it."
        ),
    ] = False,
    settled_s: Annotated[
        float, typer.Option(help="Seconds to wait before the last check.", min=0)
    ] = SETTLED_S,
    config: finding.ConfigFile = None,
    state: finding.State = None,
) -> None:
    """Rotate the master key: encrypt all stored secrets with a new one. Repeat it after a
    failure."""
    from colonnade.domain.errors import Invalid

    if prepare and keep_old:
        raise Invalid(
            "--prepare and --keep-old do not go together: --prepare is a step of its own, before"
        )
    settings = finding.settings_of(config, state)
    if prepare:
        typer.echo(_prepare(settings.pki_dir / "master.key"))
        return
    renewed = asyncio.run(_rotate(settings, settled_s, keep_old=keep_old))
    typer.echo(f"{renewed} secrets are encrypted with the new key")


def _prepare(file: Path) -> str:
    from colonnade.domain.errors import Conflict
    from colonnade.drivers.secrets.database import KEY_BYTES, Ring, read_ring, write_ring

    ring = read_ring(file)
    if len(ring.keys) > 1 and not ring.is_prepared:
        raise Conflict("a rotation has begun already: continue it without --prepare")
    if not ring.is_prepared:
        write_ring(file, Ring((*ring.keys, os.urandom(KEY_BYTES)), is_prepared=True))
    return f"copy {file} to all machines that have one, then run this again without --prepare"


async def _rotate(config: "Config", settled_s: float, *, keep_old: bool) -> int:
    from colonnade.domain.errors import Broken
    from colonnade.drivers.secrets.database import KEY_BYTES, Seal, read_ring, write_keys
    from colonnade.store.postgres.database import Database
    from colonnade.store.postgres.places import login
    from colonnade.store.secrets import key_rotation

    file = config.pki_dir / "master.key"
    database = await Database.connect(login(config))
    try:
        ring = read_ring(file)
        keys = ring.keys
        if ring.is_prepared:
            keys = (keys[-1], *keys[:-1])
        elif len(keys) == 1:  # else an earlier call was ended before its end
            keys = (os.urandom(KEY_BYTES), *keys)
        if keys != ring.keys or ring.is_prepared:
            write_keys(file, *keys)
        seal = Seal.from_file(file)
        first = await key_rotation.renew(database, seal)
        total = first.rows
        # A process that had read the old file may still have written a row with the old key.
        await asyncio.sleep(settled_s)
        for _ in range(PASSES_MAX):
            again = await key_rotation.renew(database, seal)
            total += again.rows
            if not again.rows:
                break
        else:
            raise Broken(
                "a process still encrypts with the old key, so both keys stay in the file. "
                "Give every machine the same file, then run this again"
            )
        if not keep_old:
            write_keys(file, keys[0])
    finally:
        await database.close()
    if first.lost:
        typer.echo(
            f"{first.lost} secrets cannot be decrypted with any known key; they are unchanged",
            err=True,
        )
    return total
