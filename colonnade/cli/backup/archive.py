# SPDX-License-Identifier: Apache-2.0
"""What is in a backup: a tar of the database, the keys, the address book and the configuration.

The address book is copied after the database was dumped, so every VIP that the dump knows has its
address there. What is not listed here is made anew by who needs it. It starts and stops nothing.
"""

import contextlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import colonnade
from colonnade.domain.errors import Invalid
from colonnade.runtime.config import Config
from colonnade.store.postgres import migrations

FORMAT: Final = 1
ABOUT: Final = "about.json"
DUMP: Final = "database.dump"
CONFIG: Final = "colonnade.toml"
KEYS: Final = ("ca.pem", "ca-key.pem", "ca-next-key.pem", "master.key")  # others are issued anew
KEYS_FOLDER: Final = "pki"
NETWORK: Final = "network"
BOOK: Final = ("networks", "ports", "routes")


class About(msgspec.Struct, frozen=True):
    """`format` rises with what an older release could not restore."""

    format: int
    release: str
    made_at: str  # RFC 3339
    schema: tuple[str, ...]  # the migrations that were applied

    def check(self) -> None:
        """Raises Invalid for what a newer release made."""
        newer = sorted(set(self.schema) - migrations.ours())
        if self.format > FORMAT or newer:
            raise Invalid(
                f"the backup was made by release {self.release}, which is newer than this one "
                f"({colonnade.__version__}): restore it with that release"
            )


def write(folder: Path, config: Config, about: About, tar: Path) -> None:
    """`folder` holds the dump."""
    (folder / ABOUT).write_bytes(msgspec.json.encode(about))
    with tarfile.open(tar, "w") as made:
        made.add(folder / ABOUT, ABOUT)
        made.add(folder / DUMP, DUMP)
        for file, name in _files(config):
            with contextlib.suppress(FileNotFoundError):  # a port that has just been given back
                made.add(file.resolve(), name, recursive=False)  # the configuration may be a link


def read(tar: Path, folder: Path) -> About:
    """Unpack it, and say what it is. Raises Invalid."""
    try:
        with tarfile.open(tar, "r:") as found:
            found.extractall(folder, filter="data")
        about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    except (tarfile.TarError, OSError, msgspec.MsgspecError) as error:
        raise Invalid(f"this is no backup of Colonnade ({error})") from error
    about.check()
    return about


def put_back(folder: Path, state: Path) -> None:
    """All but the database and the configuration, where a state folder has it."""
    for name in (KEYS_FOLDER, NETWORK):
        if (folder / name).exists():
            shutil.copytree(folder / name, state / name)
    for file in (state / KEYS_FOLDER).iterdir():
        file.chmod(0o600)


def _files(config: Config) -> Iterator[tuple[Path, str]]:
    yield config.state_dir / CONFIG, CONFIG
    for name in KEYS:
        if (file := config.pki_dir / name).exists():
            yield file, f"{KEYS_FOLDER}/{name}"
    for name in BOOK:
        folder = config.state_dir / NETWORK / name
        if folder.exists():
            yield folder, f"{NETWORK}/{name}"
            for file in folder.glob("*.json"):
                yield file, f"{NETWORK}/{name}/{file.name}"
