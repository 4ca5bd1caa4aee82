# SPDX-License-Identifier: Apache-2.0
"""The agent's files, all on one tmpfs.

Invariant: at any moment, also after being killed in the middle, the folder tells one whole bundle
that haproxy serves or served (`present`), and perhaps one that was being put in its place
(`wanted`). Every file appears whole. Room is taken before anything is done: from `place` on, only
names change, so that a full disk can neither keep a change from ending nor from being undone. It
knows no haproxy.
"""

import contextlib
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle

log = logging.getLogger(__name__)


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "haproxy.cfg"
        self.candidate = root / "candidate.cfg"
        self.master_socket = root / "master.sock"
        self.log_socket = root / "log.sock"
        self.output = root / "haproxy.out"
        self.server_state = root / "servers.state"
        self.access_socket = root / "access.sock"  # datagrams: a line of an access log each
        self.access_logs = root / "logs"  # the spool
        self.counters = root / "counters.json"
        self.sequence = root / "sequence"
        self.last_heartbeat = root / "last-heartbeat"
        self.files = root / "files"
        self.secrets = root / "secrets"
        self._kept = root / paths.KEPT
        self._present = root / paths.PRESENT
        self._wanted = root / "wanted.json"
        self._previous = root / "previous.cfg"  # haproxy's file before the change under way
        self._begun: Bundle | None = None

    def present(self) -> Bundle | None:
        return _read_bundle(self._present)

    def unfinished(self) -> Bundle | None:
        """The bundle that was being applied when the agent ended, if it was."""
        return _read_bundle(self._wanted)

    def kept(self) -> Bundle | None:
        """What was served before the machine was booted, until something is served."""
        try:
            return _read_bundle(self._kept)
        except msgspec.MsgspecError as error:
            log.error("what was served before the boot cannot be read: %s", error)
            return None

    def forget_kept(self) -> None:
        self._kept.unlink(missing_ok=True)

    def begin(self, wanted: Bundle) -> None:
        write(self._wanted, msgspec.json.encode(wanted))
        self._begun = wanted

    def stage(self, wanted: Bundle) -> None:
        """haproxy's file of the wanted bundle, beside the one in place."""
        self.candidate.unlink(missing_ok=True)
        if wanted.serves:
            write(self.candidate, wanted.config.encode())

    def place(self, wanted: Bundle) -> None:
        """The staged file becomes haproxy's; the one before stays until `commit`."""
        if self.config.exists() and not self._previous.exists():
            os.link(self.config, self._previous)
        if self.candidate.exists():
            self.candidate.replace(self.config)
        else:
            write(self.config, wanted.config.encode())

    def commit(self, served: Bundle) -> None:
        if self._begun is not served:
            self.begin(served)
        self._wanted.replace(self._present)
        self._begun = None
        self._previous.unlink(missing_ok=True)
        self.candidate.unlink(missing_ok=True)
        self.keep_files(served)

    def abandon(self, present: Bundle | None) -> None:
        """Back to what there was: the wanted bundle is not served."""
        self._begun = None
        self.candidate.unlink(missing_ok=True)
        if self._previous.exists():
            self._previous.replace(self.config)
        self._wanted.unlink(missing_ok=True)
        if present is not None:
            self.keep_files(present)
            self.write_files(present)

    def settle(self, present: Bundle | None) -> None:
        """Nothing is under way: whatever a killed agent left half done is as `present` says."""
        self._previous.unlink(missing_ok=True)
        self.candidate.unlink(missing_ok=True)
        for half_written in self.root.glob(".*.new"):
            half_written.unlink()
        if present is not None:
            if not self.config.exists() or self.config.read_text() != present.config:
                write(self.config, present.config.encode())
            self.write_files(present)
            self.keep_files(present)

    def write_files(self, bundle: Bundle) -> None:
        """Put the bundle's files and secrets beside those that are there. Raises ValueError on a
        bad name."""
        _put(self.files, bundle.files)
        _put(self.secrets, {name: secret.pem for name, secret in bundle.secrets.items()})

    def keep_files(self, bundle: Bundle) -> None:
        """Remove all files but the bundle's: a private key goes when it is no longer used."""
        _keep(self.files, bundle.files)
        _keep(self.secrets, bundle.secrets)


def _put(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in texts.items():
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"bad file name {name!r}")
        path = folder / name
        if not path.exists() or path.read_text() != text:
            write(path, text.encode())


def _keep(folder: Path, names: Collection[str]) -> None:
    if folder.exists():
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()


def write(path: Path, content: bytes) -> None:
    """Write a file that is seen whole or not at all, by its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def write_if_room(path: Path, content: bytes) -> bool:
    """The same for what the amphora can serve without: no room is only said."""
    try:
        write(path, content)
    except OSError as error:
        log.warning("%s is not written: %s", path.name, error)
        return False
    return True


def _read_bundle(path: Path) -> Bundle | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bundle)
    except FileNotFoundError:
        return None
