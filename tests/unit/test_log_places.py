# SPDX-License-Identifier: Apache-2.0
"""Signatures against what the vendors' own pages compute, and the names that objects get."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from colonnade.agent.logs.connection import is_outside
from colonnade.agent.logs.otlp import request
from colonnade.agent.logs.syslog import message
from colonnade.controller.log_places import object_name, place_of
from colonnade.domain.ids import AmphoraId
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.drivers.logs.s3 import Bucket, presigned, presigned_put
from colonnade.drivers.logs.swift import Container, temporary, temporary_put
from colonnade.protocol.logs import LogFile
from colonnade.store.extras.log_targets import Route

AT = datetime(2013, 5, 24, tzinfo=UTC)
BUCKET = Bucket(
    url="https://examplebucket.s3.amazonaws.com",
    name="",
    region="us-east-1",
    access_key="AKIAIOSFODNN7EXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
FILE = LogFile(listener="l", sequence=7, begun_at=AT.timestamp() + 3.5, lines=1)


def test_the_signature_is_that_of_the_example_in_the_manual_of_s3() -> None:
    url = presigned("GET", BUCKET, "/test.txt", at=AT, expires_s=86400)
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://s3.example.org:443", "s3.example.org"),
        ("http://s3.example.org:9000/base/", "s3.example.org:9000"),
        ("http://[2001:db8::1]:80", "[2001:db8::1]"),
    ],
)
def test_the_signed_host_is_the_one_that_a_client_says(url: str, host: str) -> None:
    bucket = Bucket(url=url, name="b", region="r", access_key="a", secret_key="s")
    found = urlsplit(presigned_put(bucket, "x y/z", at=AT, expires_s=60))
    assert found.netloc == host
    assert found.path.endswith("/b/x%20y/z")


def test_a_temporary_url_is_for_one_method_one_object_and_a_while() -> None:
    container = Container(url="https://swift.example.org/v1/AUTH_1/", name="logs", key="mykey")
    found = urlsplit(temporary_put(container, "a b", at=AT, expires_s=60))
    query = parse_qs(found.query)
    assert found.path == "/v1/AUTH_1/logs/a%20b"
    expires = int(query["temp_url_expires"][0])
    assert expires == int(AT.timestamp()) + 60
    path = "/v1/AUTH_1/logs/a b"
    right = temporary("PUT", path, expires, "mykey")
    assert query["temp_url_sig"] == [right]
    wrong = [
        temporary("GET", path, expires, "mykey"),
        temporary("PUT", path + "c", expires, "mykey"),
        temporary("PUT", path, expires + 1, "mykey"),
        temporary("PUT", path, expires, "other"),
    ]
    assert right not in wrong
    assert "mykey" not in repr(container)


def test_no_place_holds_a_credential_of_a_store() -> None:
    amphora = AmphoraId("a")
    for kind, secrets in (
        (TargetType.S3, {"access_key": "AKID", "secret_key": "very-secret"}),
        (TargetType.SWIFT, {"temp_url_key": "very-secret"}),
    ):
        target = LogTarget(id="t", type=kind, url="https://s.example.org", bucket="b", prefix="p/q")
        route = Route(listener_id="l", load_balancer_id="lb", target=target, sealed=None)
        place = place_of(route, secrets, amphora, FILE, AT)
        assert place.means == "PUT"
        assert "very-secret" not in str((place.url, place.headers, place.labels))
        assert "Signature" not in repr(place) and "sig" not in repr(place)
        name = object_name(route, amphora, FILE)
        assert name == "p/q/lb/l/2013/05/24/20130524T000003Z-a-7.log.gz"
        assert name in place.url


def test_a_syslog_message_says_when_it_was_who_and_how_long_it_is() -> None:
    labels = {"load_balancer": "B", "listener": "L", "amphora": "A"}
    line = b'{"time":1369353600.25,"uri":"\\/"}'
    size, _, text = message(line, labels).partition(b" ")
    assert int(size) == len(text)
    assert text == (
        b"<134>1 2013-05-24T00:00:00.250Z A colonnade L access "
        b'[colonnade@32473 load_balancer="B" listener="L" amphora="A"] ' + line
    )
    assert b"<134>1 - A colonnade" in message(b"192.0.2.1 - - [x]", labels)


def test_a_record_of_a_collector_holds_the_line_as_it_is() -> None:
    found = request([b'{"time":1369353600.25}', b"\xff"], {"listener": "L"})
    first, second = found["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert first["timeUnixNano"] == "1369353600250000000"
    assert first["body"] == {"stringValue": '{"time":1369353600.25}'}
    assert "timeUnixNano" not in second
    attributes = found["resourceLogs"][0]["resource"]["attributes"]
    assert {"key": "colonnade.listener.id", "value": {"stringValue": "L"}} in attributes


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("203.0.113.9", True),
        ("10.0.0.5", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:127.0.0.1", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
    ],
)
def test_nothing_is_sent_to_the_amphora_itself_or_its_link(address: str, outside: bool) -> None:
    assert is_outside(address) is outside
