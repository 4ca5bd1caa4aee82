# SPDX-License-Identifier: Apache-2.0
"""Where the files and the network of one agent are: the amphora's own, or those of a seat on it."""

from pathlib import Path
from typing import NamedTuple

from colonnade.agent.folder import Folder


class Place(NamedTuple):
    """`drive`: the files that it was born with. `within`: what haproxy is started by, so that it
    finds its files where its text says that they are."""

    drive: Path
    folder: Folder
    namespace: Path
    within: tuple[str, ...] = ()
    is_seat: bool = False
