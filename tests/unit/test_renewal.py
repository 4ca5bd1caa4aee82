# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced while they are used, when a certificate is due, and the proof of an
amphora that is late."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.cli.local import identities
from colonnade.cli.local.identities import Exchange
from colonnade.protocol import lateness
from colonnade.runtime.certificate_authority import is_half_gone
from colonnade.runtime.files import Reread, replace_file


def number(file: Path) -> int:
    return int(file.read_text())


def test_a_value_is_made_again_when_its_file_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "number"
    replace_file(file, "1")
    read = Reread(lambda: number(file), file)
    first = read()
    replace_file(file, "2")
    assert (first, read()) == (1, 2)


def test_what_cannot_be_read_leaves_the_value_and_the_next_exchange_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "number"
    replace_file(file, "1")
    read = Reread(lambda: number(file), file)
    replace_file(file, "nonsense")
    assert read() == 1
    file.unlink()
    assert read() == 1
    replace_file(file, "3")
    assert read() == 3


def test_a_file_that_cannot_be_read_at_first_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reread(lambda: number(tmp_path / "none"), tmp_path / "none")


def test_a_replaced_file_keeps_its_readers_and_a_new_one_has_none(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    replace_file(file, "1")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    replace_file(file, "2")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


@given(st.binary(min_size=32, max_size=32), st.floats(-290, 290))
def test_a_proof_holds_for_its_amphora_and_some_minutes(key: bytes, apart: float) -> None:
    told = lateness.proof(key, "a", 1_700_000_000)
    assert lateness.holds(told, key, "a", 1_700_000_000 + apart)
    assert not lateness.holds(told, key, "b", 1_700_000_000 + apart)
    assert not lateness.holds(told, key, "a", 1_700_000_000 + 302)
    assert not lateness.holds(told, key[::-1] + b"x", "a", 1_700_000_000)


@given(st.text())
def test_nonsense_is_no_proof(told: str) -> None:
    assert not lateness.holds(told, bytes(32), "a", 1_700_000_000)


def test_a_certificate_is_due_at_half_of_its_life() -> None:
    assert not is_half_gone(100, 300, 199)
    assert is_half_gone(100, 300, 200)


def test_an_exchange_of_the_authority_goes_on_wherever_it_was_ended(tmp_path: Path) -> None:
    identities.ensure_identities(tmp_path)
    old = identities.load_authority(tmp_path)
    offices = {name: (tmp_path / f"{name}.pem").read_text() for name in identities.OFFICES}
    assert identities.exchange(tmp_path) is Exchange.NOT_BEGUN

    for _ in range(2):
        identities.trust_next(tmp_path)
        assert identities.exchange(tmp_path) is Exchange.BOTH_TRUSTED
    both = identities.load_authority(tmp_path)
    assert both.name == old.name
    assert both.trusted_pem.startswith(old.certificate_pem)
    assert both.trusted_pem.count("BEGIN CERTIFICATE") == 2

    replace_file(tmp_path / "ca-key.pem", (tmp_path / "ca-next-key.pem").read_text())
    assert identities.exchange(tmp_path) is Exchange.BOTH_TRUSTED, "ended before the offices'"
    identities.sign_with_next(tmp_path)
    assert identities.exchange(tmp_path) is Exchange.NEW_SIGNS
    fresh = identities.load_authority(tmp_path)
    assert fresh.name != old.name
    assert fresh.trusted_pem == both.trusted_pem
    renewed = {name: (tmp_path / f"{name}.pem").read_text() for name in identities.OFFICES}
    assert not set(renewed.values()) & set(offices.values())

    identities.trust_present_only(tmp_path)
    assert identities.exchange(tmp_path) is Exchange.NOT_BEGUN
    assert (tmp_path / "ca.pem").read_text() == fresh.certificate_pem
    identities.ensure_identities(tmp_path)
    assert (tmp_path / "api.pem").read_text() == renewed["api"], "nothing is due"
