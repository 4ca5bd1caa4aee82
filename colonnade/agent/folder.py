# SPDX-License-Identifier: Apache-2.0
"""The agent's files, all on one tmpfs.

Invariant: at any moment, also after being killed in the middle, the folder tells one whole bundle
that haproxy serves or served (`present`), and perhaps one that was being put in its place
(`wanted`). Every file appears whole. It knows no haproxy.
"""

from pathlib import Path

import msgspec

from colonnade.protocol.bundle import Bundle


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "haproxy.cfg"
        self.candidate = root / "candidate.cfg"
        self.master_socket = root / "master.sock"
        self.log_socket = root / "log.sock"
        self.output = root / "haproxy.out"
        self.server_state = root / "servers.state"
        self.counters = root / "counters.json"
        self.sequence = root / "sequence"
        self.files = root / "files"
        self._present = root / "present.json"
        self._wanted = root / "wanted.json"

    def present(self) -> Bundle | None:
        return _read_bundle(self._present)

    def unfinished(self) -> Bundle | None:
        """The bundle that was being applied when the agent ended, if it was."""
        return _read_bundle(self._wanted)

    def begin(self, wanted: Bundle) -> None:
        write(self._wanted, msgspec.json.encode(wanted))

    def commit(self, served: Bundle) -> None:
        write(self.config, served.config.encode())
        write(self._present, msgspec.json.encode(served))
        self._wanted.unlink(missing_ok=True)
        self.keep_files(served)

    def abandon(self, present: Bundle | None) -> None:
        """Back to what there was: the wanted bundle is not served."""
        if present is not None:
            write(self.config, present.config.encode())
            self.write_files(present)
            self.keep_files(present)
        self.candidate.unlink(missing_ok=True)
        self._wanted.unlink(missing_ok=True)

    def write_files(self, bundle: Bundle) -> None:
        """Put the bundle's files beside those that are there. Raises ValueError on a bad name."""
        self.files.mkdir(mode=0o700, exist_ok=True)
        for name, text in bundle.files.items():
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"bad file name {name!r}")
            path = self.files / name
            if not path.exists() or path.read_text() != text:
                write(path, text.encode())

    def keep_files(self, bundle: Bundle) -> None:
        """Remove all files but the bundle's: a private key goes when it is no longer used."""
        if self.files.exists():
            for path in self.files.iterdir():
                if path.name not in bundle.files:
                    path.unlink()


def write(path: Path, content: bytes) -> None:
    """Write a file that is seen whole or not at all, by its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)


def _read_bundle(path: Path) -> Bundle | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bundle)
    except FileNotFoundError:
        return None
