# SPDX-License-Identifier: Apache-2.0
"""A backup is a file of age that only its key opens, and says what made it."""

import os
import stat
import tarfile
from pathlib import Path

import msgspec
import pyrage
import pytest

import colonnade
from colonnade.cli.backup import archive
from colonnade.cli.backup.keys import IN_MEMORY_MAX, Keys, asked_for, identities_of
from colonnade.cli.backup.restoring import Elsewhere, restore
from colonnade.domain.errors import Conflict, Invalid, NotFound
from colonnade.runtime.config import Config, write_config
from colonnade.store.postgres import migrations

PHRASE = "correct horse battery"
ABOUT = archive.About(1, colonnade.__version__, "2026-01-01T00:00:00+00:00", ("0001-first",))


def sealed_of(folder: Path, key: Keys, text: bytes = b"all that must last") -> Path:
    (folder / "plain").write_bytes(text)
    key.encrypt(folder / "plain", folder / "sealed")
    assert text not in (folder / "sealed").read_bytes()
    return folder / "sealed"


def test_a_public_key_needs_no_secret_where_backups_are_made(tmp_path: Path) -> None:
    secret = pyrage.x25519.Identity.generate()
    sealed = sealed_of(tmp_path, Keys(names=[str(secret.to_public())]))
    (tmp_path / "key").write_text(f"# public key: {secret.to_public()}\n{secret}\n")
    Keys(names=identities_of(tmp_path / "key")).decrypt(sealed, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"all that must last"
    damaged = tmp_path / "damaged"
    damaged.write_bytes(sealed.read_bytes()[:-1] + b"x")
    with pytest.raises(Invalid, match="damaged"):
        Keys(names=[str(secret)]).decrypt(damaged, tmp_path / "back")
    other = str(pyrage.x25519.Identity.generate())
    with pytest.raises(Invalid, match="another passphrase or key"):
        Keys(names=[other]).decrypt(sealed, tmp_path / "back")
    with pytest.raises(Invalid, match="age1"):
        Keys(names=["nonsense"]).encrypt(tmp_path / "plain", sealed)


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short\n")
    for file, words in ((tmp_path / "short", "at least 12"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(Invalid, match=words):
            asked_for(file, twice=False)
    with pytest.raises(Invalid, match="AGE-SECRET-KEY"):
        identities_of(tmp_path / "short")
    with pytest.raises(Invalid, match="--passphrase-file"):
        asked_for(None, twice=True)
    os.truncate(tmp_path / "short", IN_MEMORY_MAX + 1)
    with pytest.raises(Invalid, match="--recipient"):
        Keys(passphrase=PHRASE).encrypt(tmp_path / "short", tmp_path / "sealed")


def test_an_archive_has_what_must_last_and_nothing_else(tmp_path: Path) -> None:
    state, work = tmp_path / "state", tmp_path / "work"
    for folder in (state / "pki", state / "network/ports", state / "logs", work):
        folder.mkdir(parents=True)
    for name in ("pki/master.key", "pki/api.pem", "network/ports/1.json", "logs/api.log"):
        (state / name).write_text(name)
    config = Config(state_dir=state, run_dir=tmp_path, database_url="postgresql:///secret")
    write_config(tmp_path / "elsewhere.toml", config)
    (state / "colonnade.toml").symlink_to(tmp_path / "elsewhere.toml")
    (work / archive.DUMP).write_text("dump")
    archive.write(work, config, ABOUT, work / "tar")
    assert archive.read(work / "tar", tmp_path / "found") == ABOUT
    found = {str(p.relative_to(tmp_path / "found")) for p in (tmp_path / "found").rglob("*.*")}
    assert found == {
        "about.json", "colonnade.toml", "database.dump", "network/ports/1.json", "pki/master.key",
    }  # fmt: skip
    assert "secret" in (tmp_path / "found/colonnade.toml").read_text()
    archive.put_back(tmp_path / "found", tmp_path / "fresh")
    key = tmp_path / "fresh/pki/master.key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("pki/master.key", 0o600)


@pytest.mark.parametrize(
    "about",
    [msgspec.structs.replace(ABOUT, format=2), msgspec.structs.replace(ABOUT, schema=("9999-x",))],
)
def test_what_a_newer_release_made_is_refused_with_its_name(about: archive.About) -> None:
    with pytest.raises(Invalid, match=colonnade.__version__):
        about.check()
    ABOUT.check()
    assert "0001-first" in migrations.ours()


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tar").write_bytes(b"no tar")
    with pytest.raises(Invalid, match="no backup"):
        archive.read(tmp_path / "tar", tmp_path / "found")
    with tarfile.open(tmp_path / "tar", "w"):
        pass
    with pytest.raises(Invalid, match="no backup"):
        archive.read(tmp_path / "tar", tmp_path / "found")


def test_nothing_is_restored_over_a_system(tmp_path: Path) -> None:
    secret = pyrage.x25519.Identity.generate()
    sealed = sealed_of(tmp_path, Keys(names=[str(secret.to_public())]))
    key = Keys(names=[str(secret)])
    (tmp_path / "state/pki").mkdir(parents=True)
    with pytest.raises(Conflict, match=r"is not empty \(pki\)"):
        restore(sealed, key, tmp_path / "state", Elsewhere())
    (tmp_path / "state/pki").rmdir()
    with pytest.raises(Invalid, match="no backup"):
        restore(sealed, key, tmp_path / "state", Elsewhere())
    with pytest.raises(NotFound, match="there is no file"):
        restore(tmp_path / "none", key, tmp_path / "state", Elsewhere())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
