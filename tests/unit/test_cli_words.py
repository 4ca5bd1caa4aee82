# SPDX-License-Identifier: Apache-2.0
"""Words of the command line, and how objects look on a terminal; no endpoint is asked."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from colonnade import __version__
from colonnade.cli.main import main
from colonnade.cli.nouns.catalogue import FLAVORS
from colonnade.cli.nouns.description import Noun
from colonnade.cli.nouns.index import NOUNS
from colonnade.cli.objects.batches import read_member
from colonnade.cli.objects.group_commands import makers
from colonnade.cli.objects.history import line
from colonnade.cli.objects.lazy_groups import GROUPS
from colonnade.cli.objects.names import is_id
from colonnade.cli.objects.options import cleared, pairs
from colonnade.cli.objects.printing import Printer, moment, printable
from colonnade.cli.objects.secrets import read_content
from colonnade.cli.objects.settling import is_pending
from colonnade.cli.objects.tree_drawing import draw_whole
from colonnade.domain.errors import Invalid

ID = "e60c8e40-c26d-53af-9703-26a7285882c0"


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("10.0.0.1:80", {"address": "10.0.0.1", "protocol_port": 80}),
        ("[fd00::1]:80", {"address": "fd00::1", "protocol_port": 80}),
        (
            "10.0.0.1:80,weight=5,name=a,backup=true",
            {"address": "10.0.0.1", "protocol_port": 80, "weight": 5, "name": "a", "backup": True},
        ),
    ],
)
def test_a_member_is_one_word(text: str, member: dict[str, Any]) -> None:
    assert read_member(text) == member


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:http", "10.0.0.1:80,x"])
def test_what_is_no_member_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_member(text)


def test_pairs_are_repeated_or_joined_or_json() -> None:
    assert pairs("--x", ["a=1,b=c", "d=e=f"], numbers=False) == {"a": "1", "b": "c", "d": "e=f"}
    assert pairs("--x", ["a=1"], numbers=True) == {"a": 1}
    assert pairs("--x", ['{"a": {"b": "c,d"}}'], numbers=False) == {"a": {"b": "c,d"}}
    for bad in ("a", "=1", "{"):
        with pytest.raises(Invalid):
            pairs("--x", [bad], numbers=False)


def test_what_is_cleared_goes_by_the_attribute_or_by_its_option() -> None:
    pool = NOUNS["pool"]
    for word in ("session_persistence", "session-persistence", "--session-persistence"):
        assert cleared(pool, [word]) == {"session_persistence": None}
    assert cleared(pool, ["ca", "tags"]) == {"ca_tls_container_ref": None, "tags": None}
    with pytest.raises(Invalid, match="these can"):
        cleared(pool, ["protocol"])


def test_ids_are_told_from_names() -> None:
    assert is_id(ID)
    assert is_id(ID.replace("-", "").upper())
    assert not is_id(ID[:-1])
    assert not is_id("web")


def test_a_secret_is_pem_files_or_one_pkcs12(tmp_path: Path) -> None:
    for name, content in (
        ("c.pem", b"-----BEGIN CERTIFICATE-----\nc\n"), ("k.pem", b"-----BEGIN KEY-----\nk"),
        ("x.p12", b"\x30\x82"), ("pass", b"word\n"), ("none", b""), ("bad", b"-----BEGIN \xff"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    both = read_content([tmp_path / "c.pem", tmp_path / "k.pem"], None)
    assert both == {"pem": "-----BEGIN CERTIFICATE-----\nc\n-----BEGIN KEY-----\nk\n"}
    p12 = read_content([tmp_path / "x.p12"], tmp_path / "pass")
    assert p12 == {"pkcs12": "MII=", "passphrase": "word"}
    for names in (["c.pem", "x.p12"], ["none"], ["bad"]):
        with pytest.raises(Invalid):
            read_content([tmp_path / name for name in names], None)


@pytest.mark.parametrize(
    ("shown", "pending"),
    [
        ({"provisioning_status": "ACTIVE"}, False),
        ({"provisioning_status": "PENDING_UPDATE"}, True),
        ([{"pools": [{"members": [{"provisioning_status": "PENDING_CREATE"}]}]}], True),
        ({"name": "PENDING_UPDATE"}, False),
    ],
)
def test_pending_is_seen_at_any_depth(shown: Any, pending: bool) -> None:
    assert is_pending(shown) is pending


def drawn(rows: list[dict[str, Any]], noun: Noun, width: int) -> list[str]:
    printer = Printer()
    printer.console = Console(width=width, file=io.StringIO(), force_terminal=True, no_color=True)
    with printer.console.capture() as captured:
        printer.console.print(printer.table(rows, noun.columns))
    return re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).splitlines()


def test_a_table_fits_its_terminal() -> None:
    row = {
        "id": ID, "vip_address": "203.0.113.10", "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE", "provider": "amphora",
    }  # fmt: skip
    lb = NOUNS["lb"]
    wide = drawn([row | {"name": "web"}], lb, 200)
    assert wide[0].split() == ["Name", "ID", "VIP", "Status", "Provider", "Why"]
    named = drawn([row | {"name": "web"}, row | {"name": "api"}], lb, 80)
    assert named[0].split() == ["Name", "VIP", "Status", "Provider", "Why"]
    for names in (("", "api"), ("web", "web")):  # names do not say which is which
        unnamed = drawn([row | {"name": name} for name in names], lb, 80)
        assert unnamed[0].split() == ["Name", "ID", "VIP", "Status"]
    for lines in (named, unnamed):
        assert all(len(text.rstrip()) <= 80 for text in lines)


def test_an_amphora_has_a_status_of_its_own() -> None:
    row = {"id": ID, "status": "READY", "role": None, "lb_network_ip": "198.18.0.2"}
    assert drawn([row], NOUNS["amphora"], 200)[1].split() == [ID, "READY", "198.18.0.2"]


def test_what_an_endpoint_says_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in printable("a\x1b[31mb")
    row = {"id": "1", "name": "\x1b[2J[red]x[/red]", "enabled": True}
    assert "[red]x[/red]" in "".join(drawn([row], FLAVORS, 200))
    assert "\x1b[2J" not in "".join(drawn([row], FLAVORS, 200))


def test_a_tree_shows_each_pool_where_requests_reach_it() -> None:
    pools: list[Any] = [
        {"id": name, "name": name, "members": []} for name in ("app", "files", "spare")
    ]
    policy = {"name": "p", "action": "REDIRECT_TO_POOL", "redirect_pool_id": "files", "rules": []}
    listener = {"name": "l", "protocol": "HTTP", "protocol_port": 80, "default_pool_id": "app"}
    root = {
        "name": "web", "vip_address": "203.0.113.1", "operating_status": "ONLINE",
        "listeners": [listener | {"l7policies": [policy]}], "pools": pools,
        "issues": ["it lacks x"],
    }  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(draw_whole(root))
    assert captured.get().splitlines() == [
        "web 203.0.113.1  ONLINE",
        "├── listener l HTTP :80",
        "│   ├── policy p REDIRECT_TO_POOL -> files",
        "│   │   └── pool files",
        "│   └── pool app",
        "├── pool spare",
        "└── ! it lacks x",
    ]


def test_every_group_has_commands_and_every_option_a_name_of_its_own() -> None:
    """Making all of them is what finds a bad row of a table."""
    count = 0
    for name in GROUPS:
        for make in makers(name).values():
            made = make()
            inner = made.commands.values() if hasattr(made, "commands") else [made]
            for command in inner:
                words = [word for one in command.params for word in one.opts if word[0] == "-"]
                assert len(words) == len(set(words)), (name, command.name)
                assert command.help, (name, command.name)
                count += 1
    assert count > 80


def test_an_event_is_one_line() -> None:
    event = {"id": 7, "at": "2026-01-01T00:00:00", "object_type": "member", "object_id": "m1"}
    edge = {"operating_status_before": "ONLINE", "operating_status": "ERROR"}
    assert line(event | edge).plain == "2026-01-01 00:00:00 UTC  member m1  ONLINE -> ERROR"
    done = {"kind": "applied", "provisioning_status": "ACTIVE", "message": ""}
    assert line(event | done).plain == "2026-01-01 00:00:00 UTC  member m1  applied  ACTIVE"
    named = {"object_name": "web2", "loadbalancer_id": "l", "loadbalancer_name": "a\x1b[1mb"}
    told = line(event | edge | named).plain
    assert told == "2026-01-01 00:00:00 UTC  member web2 of a\N{REPLACEMENT CHARACTER}[1mb  " + (
        "ONLINE -> ERROR"
    )


def test_a_time_has_its_zone_and_nothing_else_becomes_one() -> None:
    assert moment("2026-01-01T00:00:00") == "2026-01-01 00:00:00 UTC"
    assert moment("2026-01-01T00:00:00.123456Z") == "2026-01-01 00:00:00 UTC"
    for other in ("2026-01-01T00:00:00+01:00", "at 2026-01-01T00:00:00", "", None, 3):
        assert moment(other) == ""


@pytest.mark.parametrize(
    "words", [["--version"], ["-h"], ["lb", "-h"], ["lab", "host", "add", "-h"]]
)
def test_help_and_version_are_where_people_look(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert ("Usage" if words[-1] == "-h" else f"colonnade {__version__}\n") in out
