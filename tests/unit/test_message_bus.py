# SPDX-License-Identifier: Apache-2.0
"""Where the message bus is, as operators write it for oslo.messaging, and who is told of it."""

from pathlib import Path

import pytest

from colonnade.domain.errors import Broken
from colonnade.notifier.bus import Place, bus_of, places_of
from colonnade.runtime.config import Notifications

PASSWORD = "sentinel-b5a1"


def _place(host: str, port: int = 5672, **more: object) -> Place:
    own = {"user": "u", "password": "p", "virtual_host": "/", "tls": False} | more
    return Place(host=host, port=port, **own)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("rabbit://u:p@mq:5673/", [_place("mq", 5673)]),
        ("amqp://u:p@mq", [_place("mq")]),
        ("rabbit://u:p@a:1,u:p@b:2/lb?x=1", [_place("a", 1, virtual_host="lb"),
                                             _place("b", 2, virtual_host="lb")]),
        ("rabbit://u:p@[2001:db8::1]:5/", [_place("2001:db8::1", 5)]),
        ("amqps://u:p@mq/", [_place("mq", 5671, tls=True)]),
        ("rabbit://u%40x:p%2F%3A@mq/%2Flb", [_place("mq", user="u@x", password="p/:",
                                                    virtual_host="/lb")]),
    ],
)  # fmt: skip
def test_a_transport_url_is_read_as_oslo_messaging_reads_it(url: str, places: list[Place]) -> None:
    assert places_of(url) == places


@pytest.mark.parametrize(
    "url",
    [f"kafka://u:{PASSWORD}@mq/", f"u:{PASSWORD}@mq", f"rabbit://u:{PASSWORD}@",
     f"rabbit://u:{PASSWORD}@mq:port/", f"rabbit://u:{PASSWORD}@mq:70000/", ""],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Broken, match="the transport URL") as raised:
        places_of(url)
    assert PASSWORD not in str(raised.value)


def test_a_place_is_told_without_its_password() -> None:
    (place,) = places_of(f"rabbit://u:{PASSWORD}@mq/")
    assert PASSWORD in place.url
    assert PASSWORD not in f"{place} {place!r} {place.name}"


def test_who_may_read_the_password_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "url"
    assert bus_of(Notifications()) is None
    with pytest.raises(Broken, match="cannot be read: No such file"):
        bus_of(Notifications(transport_url_file=file))
    file.write_text(f"rabbit://u:{PASSWORD}@mq/\n")
    file.chmod(0o644)
    with pytest.raises(Broken, match="anybody may read it: chmod 600"):
        bus_of(Notifications(transport_url_file=file))
    file.chmod(0o600)
    assert bus_of(Notifications(transport_url_file=file)) is not None
    with pytest.raises(Broken, match=r"ca_file .* cannot be read"):
        bus_of(Notifications(transport_url_file=file, ca_file=tmp_path / "ca.pem"))
