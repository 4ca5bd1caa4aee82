# SPDX-License-Identifier: Apache-2.0
"""The agent's folder tells a whole bundle at every point where the agent may be killed."""

from pathlib import Path

import msgspec
import pytest

from colonnade.agent.folder import Folder
from colonnade.agent.heartbeat.sequence import Sequence64
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle

OLD = Bundle(generation=1, config="old", frame="", files={"a.pem": "1", "b.pem": "2"})
NEW = Bundle(generation=2, config="new", frame="", files={"b.pem": "3", "c.pem": "4"})


def files(folder: Folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.files.iterdir()}


def serve(folder: Folder, bundle: Bundle) -> None:
    folder.write_files(bundle)
    folder.place(bundle)
    folder.commit(bundle)


def test_a_commit_replaces_all(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    serve(folder, OLD)
    folder.write_files(NEW)
    folder.begin(NEW)
    folder.stage(NEW)
    folder.place(NEW)
    assert (folder.present(), folder.unfinished()) == (OLD, NEW)
    folder.commit(NEW)
    assert (folder.present(), folder.unfinished()) == (NEW, None)
    assert files(folder) == NEW.files
    assert folder.config.read_text() == "new"


def test_what_is_abandoned_leaves_no_trace(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    serve(folder, OLD)
    folder.write_files(NEW)
    folder.begin(NEW)
    folder.stage(NEW)
    folder.place(NEW)
    folder.abandon(OLD)
    assert (folder.present(), folder.unfinished()) == (OLD, None)
    assert folder.config.read_text() == "old"
    assert files(folder) == OLD.files
    assert not folder.candidate.exists()


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    serve(folder, OLD)
    modes = {path.stat().st_mode & 0o077 for path in (*folder.files.iterdir(), folder.config)}
    assert modes == {0}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/x", "a/b", "a\0b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    bad = msgspec.structs.replace(NEW, files={name: "x"})
    with pytest.raises(ValueError, match="file name"):
        Folder(tmp_path).write_files(bad)


def test_sequences_rise_over_a_restart_and_a_clock_set_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.sequence.write_text(str(2**62))  # far ahead of any clock: as if it was set back
    first = Sequence64(folder)
    numbers = [first.next(), first.next()]
    numbers += [Sequence64(folder).next()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 2**62


def test_what_was_served_before_a_boot_is_there_until_it_is_forgotten(tmp_path: Path) -> None:
    folder, kept = Folder(tmp_path), tmp_path / paths.KEPT
    assert folder.kept() is None
    kept.write_bytes(msgspec.json.encode(OLD))
    assert folder.kept() == OLD
    kept.write_text("torn {")
    assert folder.kept() is None
    for _ in range(2):
        folder.forget_kept()
        assert not kept.exists()
