# SPDX-License-Identifier: Apache-2.0
"""Accounts of this machine for the processes without rights: one for each, and a group of all.

They name ids that the state folder has anyway (`runtime/host_ids.py`), so that files and processes
are shown with a name. systemd-sysusers makes them, from a file that says which.
"""

import contextlib
import grp
import pwd
import subprocess
from collections.abc import Iterator

from colonnade.cli.installation.units import account_of
from colonnade.domain.errors import Broken, Conflict
from colonnade.runtime.host_ids import ACCOUNT, OFFICES, HostIds


def accounts_text(ids: HostIds) -> str:
    """As sysusers.d(5) has it."""
    lines = [f"g {ACCOUNT} {ids.control}"]
    lines += [f'u {account_of(name)} {ids.office(name)} "Colonnade, {name}"' for name in OFFICES]
    return "\n".join(lines) + "\n"


def make_accounts(file: str, ids: HostIds) -> None:
    """Raises Conflict for an account of that name with another id, Broken without the program."""
    _run("systemd-sysusers", file)
    for name, wanted, found in _found(ids):
        if found != wanted:
            raise Conflict(
                f"the account {name} has the id {found}, not {wanted}: it is of an earlier "
                f"installation with another state folder; `userdel {name}`, and again"
            )


def remove_accounts(ids: HostIds) -> list[str]:
    """Those that are there, with their ids; their names."""
    gone = [name for name, wanted, found in _found(ids) if found == wanted]
    for name in gone:
        _run("groupdel" if name == ACCOUNT else "userdel", name)
    return gone


def _found(ids: HostIds) -> Iterator[tuple[str, int, int]]:
    for office in OFFICES:
        with contextlib.suppress(KeyError):
            yield account_of(office), ids.office(office), pwd.getpwnam(account_of(office)).pw_uid
    with contextlib.suppress(KeyError):
        yield ACCOUNT, ids.control, grp.getgrnam(ACCOUNT).gr_gid


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise Broken(f"{argv[0]} is missing: install the package systemd or passwd") from error
    if done.returncode != 0:
        raise Broken(f"{' '.join(argv)} failed", detail=(done.stderr or done.stdout).strip())
