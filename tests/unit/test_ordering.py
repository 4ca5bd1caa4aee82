# SPDX-License-Identifier: Apache-2.0
"""For which names a certificate can be ordered, and how often an issuer is asked."""

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from colonnade.domain.errors import Invalid
from colonnade.domain.ordering import (
    HOST_NAMES_MAX,
    PAUSE_S_MAX,
    Order,
    OrderStatus,
    pause_s,
    read_host_names,
    renewal_at,
    sooner_at,
)
from colonnade.drivers.secrets.ordered import AccountKey

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_names_are_small_without_a_dot_at_their_end_and_each_once() -> None:
    found = read_host_names(["Shop.Example.COM.", "shop.example.com", "xn--bcher-kva.example"])
    assert found == ("shop.example.com", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["*.example.com"], "wildcards need proof by DNS"),
        (["bücher.example"], "as DNS has it"),
        (["203.0.113.9"], "not a host name"),
        (["2001:db8::1"], "not a host name"),
        (["localhost"], "not a host name"),
        (["a_b.example.com"], "not a host name"),
        (["example.com:80"], "not a host name"),
        (["example.com\n    daemon"], "not a host name"),
        ([], "1 to 20 names"),
        ([f"a{n}.example.com" for n in range(HOST_NAMES_MAX + 1)], "1 to 20 names"),
    ],
)
def test_a_name_that_no_issuer_could_ask_is_refused(names: list[str], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read_host_names(names)


@given(st.floats(0, 1))
def test_an_issuer_is_asked_at_most_four_times_an_hour_and_twice_a_day_for_ever(
    chance: float,
) -> None:
    at, times = 0.0, [0.0]
    for attempts in range(1, 60):
        at += pause_s(attempts, chance)
        times.append(at)
    for begin in times:
        assert sum(begin <= one < begin + 3600 for one in times) <= 4
    assert PAUSE_S_MAX <= times[-1] - times[-2] <= PAUSE_S_MAX * 1.25


@given(st.floats(0, 1), st.floats(1, 400))
def test_it_is_renewed_with_a_third_of_its_life_left_and_not_all_on_one_day(
    chance: float, days: float
) -> None:
    life = timedelta(days=days)
    done = (renewal_at(NOW, NOW + life, chance) - NOW) / life
    assert 0.61 < done < 0.67


def test_a_person_may_ask_sooner_but_not_all_the_time() -> None:
    far = NOW + timedelta(hours=10)
    failed = Order(
        host_names=("a.test",),
        order_attempts=6,
        ordered_at=NOW,
        next_order_at=far,
        order_reason="x",
    )
    assert sooner_at(failed, NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert sooner_at(failed, NOW) == NOW + timedelta(minutes=12)
    issued = Order(host_names=("a.test",), ordered_at=NOW, next_order_at=far)
    assert sooner_at(issued, NOW + timedelta(hours=1)) == far


def test_what_an_order_has_come_to_is_one_word() -> None:
    names = ("a.test",)
    said = [
        Order(),
        Order(host_names=names, stand_in=True),
        Order(host_names=names, stand_in=True, order_attempts=1, ordered_at=NOW),
        Order(host_names=names, order_attempts=1, ordered_at=NOW, order_reason="no"),
        Order(host_names=names, ordered_at=NOW),
    ]
    assert [one.status for one in said] == [
        None,
        OrderStatus.WAITING,
        OrderStatus.WAITING,
        OrderStatus.FAILING,
        OrderStatus.ISSUED,
    ]


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    made = AccountKey.new()
    key = load_pem_private_key(made.pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = key.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(one.to_bytes(32, "big")).rstrip(b"=").decode()
        for one in (numbers.x, numbers.y)
    )
    text = json.dumps({"y": y, "kty": "EC", "crv": "P-256", "x": x}, sort_keys=True).replace(
        " ", ""
    )
    digest = base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
    assert made.thumbprint == digest
    assert "PRIVATE" not in repr(made)
