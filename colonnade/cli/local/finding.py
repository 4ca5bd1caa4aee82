# SPDX-License-Identifier: Apache-2.0
"""The system that a command is about, found by its state folder.

A folder that is named, with `--state` or `COLONNADE_STATE`, is the only one that is looked at: a
command about one system never reaches another. Starts nothing and speaks to nobody.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colonnade.cli.local import folders
from colonnade.cli.local.starting import is_held
from colonnade.domain.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from colonnade.runtime.config import Config

# The two ways to name a system on the command line.
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The configuration file (TOML).")]
State = Annotated[Path | None, typer.Option("--state", help="The state folder of a system.")]


def settings_of(config: Path | None, state: Path | None) -> "Config":
    """What the file says that is named, else that of the system with that state. Raises NotFound,
    Forbidden, and what `read_config` raises."""
    from colonnade.runtime.config import read_config

    return read_config(config or configuration_of(state))


def is_named(state: Path | None) -> bool:
    return state is not None or bool(os.environ.get("COLONNADE_STATE"))


def configuration_of(state: Path | None) -> Path:
    """The file of the system with that state, be it running or not. Raises NotFound, Forbidden."""
    folder = folders.state_dir(state)
    file = folders.config_file(folder)
    try:
        file.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"no system uses the state folder {folder}: start one with `colonnade up`, "
            "or name another folder with --state"
        ) from error
    except OSError as error:
        raise Forbidden(
            f"{file} cannot be read ({error.strerror}): run this as the user that runs the system"
        ) from error
    return file


def running(state: Path | None) -> Path:
    """The same of a system that runs, or is being started. Raises NotFound, Forbidden."""
    file = configuration_of(state)
    if not is_held(file.parent):
        raise NotFound(
            f"no system runs with the state folder {file.parent}: start it with `colonnade up`"
        )
    return file
