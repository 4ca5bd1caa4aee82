# SPDX-License-Identifier: Apache-2.0
"""Keys in the agent's folder: the owner's alone, in memory, and no longer than they are used."""

from pathlib import Path

import pytest

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.certificates import is_in_memory
from colonnade.protocol.bundle import Bundle, Secret


def test_a_tmpfs_is_known_from_what_is_none() -> None:
    assert is_in_memory(Path("/dev/shm"))
    assert is_in_memory(Path("/dev/shm/colonnade/not-yet-there"))
    assert not is_in_memory(Path("/proc"))
    assert not is_in_memory(Path("/proc/self"))


def test_secrets_are_files_for_the_owner_until_nothing_uses_them(tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    def bundle(generation: int, **secrets: str) -> Bundle:
        kept = {f"{name}.pem": Secret(text) for name, text in secrets.items()}
        return Bundle(generation=generation, config="c", frame="c", secrets=kept)

    def there() -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.secrets.iterdir()}

    one = bundle(1, a="A", b="B")
    folder.write_files(one)
    folder.commit(one)
    assert there() == {"a.pem": "A", "b.pem": "B"}
    assert {path.stat().st_mode & 0o7777 for path in folder.secrets.iterdir()} == {0o600}
    assert folder.secrets.stat().st_mode & 0o7777 == 0o700
    two = bundle(2, a="A2")
    folder.write_files(two)
    folder.abandon(one)  # haproxy did not like it
    assert there() == {"a.pem": "A", "b.pem": "B"}
    folder.write_files(two)
    folder.commit(two)
    assert there() == {"a.pem": "A2"}
    kept = folder.present()
    assert kept == two
    (folder.secrets / "half.pem").write_text("of one who was killed")
    folder.settle(two)
    assert there() == {"a.pem": "A2"}
    folder.commit(bundle(3))
    assert there() == {}
    with pytest.raises(ValueError, match="bad file name"):
        folder.write_files(bundle(4, **{"../x": "X"}))
