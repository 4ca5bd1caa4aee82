# SPDX-License-Identifier: Apache-2.0
"""Where our own program lies on this machine: the interpreter, what it imports from, and us."""

import sys
from pathlib import Path

import colonnade


def places() -> list[Path]:
    """Folders that a process of ours reads, whether an installation or a checkout."""
    # The first entry is the folder that the command was given in, or that of a script.
    found = sys.path if sys.flags.safe_path else sys.path[1:]
    imported = [Path(name) for name in found if name.startswith("/")]
    own = [Path(sys.prefix), Path(sys.base_prefix), Path(colonnade.__file__).parent]
    return [path for path in dict.fromkeys((*own, *imported)) if path.is_dir() and path.parts[1:]]
