# SPDX-License-Identifier: Apache-2.0
"""`colonnade uninstall`: take away what `colonnade init` has made, and what came of it.

What goes, and what stays, is said before anything is done. It ends all amphorae. It may be
repeated.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from colonnade.cli.installation.accounts import remove_accounts
from colonnade.cli.installation.layout import Layout, known_config, layout_of
from colonnade.cli.installation.systemd import is_running, systemctl
from colonnade.cli.installation.units import LAB, MADE, TARGET
from colonnade.cli.local import folders, own_networks
from colonnade.cli.local.starting import exit_code, is_held
from colonnade.domain.errors import Conflict, Invalid, NotFound
from colonnade.runtime import host_ids

WORD: Final = "uninstall"
PATTERNS: Final = ("colonnade-*.service", "colonnade.*.socket", "colonnade-*.timer", LAB, TARGET)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    root: Path | None = None
    keep_state: bool = False
    yes: bool = False


def run_uninstall(wish: Wish) -> int:
    return exit_code("uninstall", lambda: _uninstall(wish))


def _uninstall(wish: Wish) -> None:
    layout = _found(wish.root)
    ids = host_ids.of(layout.state)
    if ids is None:
        raise Invalid("this takes away units and accounts, so it needs root")
    goes = [path for path in _goes(layout, wish) if path.exists() or path.is_symlink()]
    _tell(layout, goes, wish)
    if not wish.yes:
        print(f"type {WORD} to go on: ", end="", flush=True)
        if sys.stdin.readline().strip() != WORD:
            raise Invalid("nothing is taken away")
    _stop(layout)
    for path in goes:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    own_networks.clear(layout.run_dir)
    folders.remove_run_dir(layout.state)
    if layout.is_machine:
        if not wish.keep_state:
            remove_accounts(ids)
        if is_running():
            systemctl("daemon-reload")
            systemctl("reset-failed")
    print("done")


def _stop(layout: Layout) -> None:
    """Raises Conflict while something else runs with that state."""
    if layout.is_machine and is_running() and (layout.units / TARGET).exists():
        units = [path.name for path in _units(layout)]
        systemctl("disable", "--quiet", TARGET)
        systemctl("stop", *units)
    if is_held(layout.state):
        raise Conflict(f"a system runs with the state folder {layout.state}: end it first")


def _found(root: Path | None) -> Layout:
    layout = layout_of(root)
    if layout.config.exists():
        return layout_of(root, known_config(layout.config).state_dir)
    if not any(_units(layout)) and not layout.state.exists():
        raise NotFound(f"nothing is installed: there is no {layout.config}")
    return layout


def _units(layout: Layout) -> Iterator[Path]:
    for pattern in PATTERNS:
        for path in sorted(layout.units.glob(pattern)):
            if path.read_text().startswith(MADE):
                yield path


def _goes(layout: Layout, wish: Wish) -> Iterator[Path]:
    yield from _units(layout)
    if not wish.keep_state:
        yield from (layout.accounts, layout.etc, layout.state)


def _tell(layout: Layout, goes: list[Path], wish: Wish) -> None:
    print("this ends all amphorae, and takes away:")
    for path in goes:
        print(f"  {path}")
    if wish.keep_state:
        print(f"and keeps {layout.etc}, {layout.state} and the accounts")
    else:
        print("and the accounts of the processes; load balancers, certificates and keys are lost")
    print("the program itself stays: `pip uninstall colonnade`")
