# SPDX-License-Identifier: Apache-2.0
"""The system that a command is about, found by its state folder.

A folder that is named, with `--state` or `COLONNADE_STATE`, is the only one that is looked at: a
command about one system never reaches another. Starts nothing and speaks to nobody.
"""

import os
from pathlib import Path

from colonnade.cli.local import folders
from colonnade.cli.local.starting import is_held
from colonnade.domain.errors import Forbidden, NotFound


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
