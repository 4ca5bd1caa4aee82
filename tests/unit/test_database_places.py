# SPDX-License-Identifier: Apache-2.0
"""Where connection strings lead, and that no message repeats one."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from colonnade.cli.local.far_database import check_database
from colonnade.domain.errors import Broken, Invalid
from colonnade.runtime.config import Config
from colonnade.store.postgres.places import by_way_of, login, password_in, servers

TWO = "postgresql://u@a.example,b.example:6000/db?target_session_attrs=read-write"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", []),
        ("host=/run/postgresql", []),
        ("postgresql:///db?host=@abstract", []),
        ("host=a.example", ["a.example:5432"]),
        (TWO, ["a.example:5432", "b.example:6000"]),
        ("host=a,b port=7000", ["a:7000", "b:7000"]),
        ("host=a,b port=,7001", ["a:5432", "b:7001"]),
        ("host=/run/one,a hostaddr=,192.0.2.1", ["192.0.2.1:5432"]),
        ("hostaddr=2001:db8::1", ["[2001:db8::1]:5432"]),
        ("host=name hostaddr=192.0.2.7", ["192.0.2.7:5432"]),
    ],
)
def test_the_servers_of_a_string_are_those_that_libpq_finds(url: str, found: list[str]) -> None:
    assert [str(one) for one in servers(url)] == found


def test_another_way_changes_where_is_asked_and_no_name_or_port() -> None:
    led = conninfo_to_dict(by_way_of(TWO, {0: "127.1.1.1", 1: "127.2.2.2"}))
    assert led == conninfo_to_dict(TWO) | {"hostaddr": "127.1.1.1,127.2.2.2"}
    mixed = conninfo_to_dict(by_way_of("host=/run/one,a", {1: "127.1.1.1"}))
    assert (mixed["host"], mixed["hostaddr"]) == ("/run/one,a", ",127.1.1.1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret%zz@h/db", "postgresql://u:s3cret@h:x/db",
        "host=a,b,c port=1,2 password=s3cret",
        "postgresql://u:a/s3cret@h/db", "postgresql://u:a@h/db?s3cret=1", "host=a port=s3cret",
        "host=a,b hostaddr=192.0.2.1 password=s3cret",
    ],
)  # fmt: skip
def test_a_string_that_cannot_be_read_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_database(url, None)
    assert "s3cret" not in str(refusal.value)


def test_what_the_processes_could_not_use_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(Invalid, match="below 1024"):
        check_database("host=a.example port=432", None)
    with pytest.raises(Invalid, match="--database-password-file"):
        check_database("host=a.example passfile=/root/.pgpass", None)
    with pytest.raises(Invalid, match="one line"):
        check_database("host=a.example", empty)
    with pytest.raises(Invalid, match="No such file"):
        check_database("host=a.example", tmp_path / "none")
    with pytest.raises(Invalid, match="is for --database"):
        check_database("", empty)


def test_a_password_is_read_again_when_its_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    config = Config(
        state_dir=tmp_path, run_dir=tmp_path, database_url=TWO, database_password_file=file
    )
    with pytest.raises(Broken, match="cannot be read"):
        login(config)
    file.write_text("it's one\\two \n")
    now = login(config)
    assert conninfo_to_dict(now()) == conninfo_to_dict(TWO) | {"password": "it's one\\two "}
    file.write_text("")  # it is being written
    assert conninfo_to_dict(now())["password"] == "it's one\\two "
    file.write_text("another\n")
    assert conninfo_to_dict(now())["password"] == "another"


def test_a_password_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for text in ("", "\n", "one\ntwo\n", "with\0nul", "x" * 1001):
        file.write_text(text)
        with pytest.raises(ValueError, match="one line"):
            password_in(file)
