# SPDX-License-Identifier: Apache-2.0
"""Where an installation keeps its things; the one place that decides.

With another root all of it is below that folder, and the units name it there: so an installation
can be looked at, and tried, without a change of the machine.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.cli.local import folders
from colonnade.domain.errors import Invalid
from colonnade.runtime.config import Config, read_config

MACHINE: Final = Path("/")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    root: Path = MACHINE
    state: Path

    @property
    def is_machine(self) -> bool:
        return self.root == MACHINE

    @property
    def etc(self) -> Path:
        return self.root / "etc/colonnade"

    @property
    def config(self) -> Path:
        return self.etc / folders.config_file(self.state).name

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @property
    def accounts(self) -> Path:
        return self.root / "etc/sysusers.d/colonnade.conf"

    @property
    def run_dir(self) -> Path:
        return folders.run_dir_path(self.state)


def layout_of(root: Path | None, state: Path | None = None) -> Layout:
    top = root.resolve() if root is not None else MACHINE
    return Layout(root=top, state=state.resolve() if state else top / "var/lib/colonnade")


def known_config(file: Path, above: dict[str, Any] | None = None) -> Config:
    """What the file says, with `above` in its place. Raises Invalid, with file and reason."""
    try:
        return read_config(file, above)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{file}: {error}") from error
