# SPDX-License-Identifier: Apache-2.0
"""What an amphora is born with: written and read, or refused without repeating any of it."""

import base64

import pytest

from colonnade.protocol import birth

SECRET = "-----BEGIN PRIVATE KEY-----"
FILES = {"agent.json": "{}", "agent.pem": SECRET, "ca.pem": "ca", "heartbeat.key": "00ff"}


def test_what_is_written_is_read() -> None:
    read = birth.decode(base64.b64decode(birth.user_data(FILES, "fa:16:3e:00:00:01")))
    assert (read.files, read.lb_mac) == (FILES, "fa:16:3e:00:00:01")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not the JSON"),
        (b"#cloud-config\n" + SECRET.encode(), "not the JSON"),
        (b'{"colonnade":1,"files":{"agent.pem":"%s"}}' % SECRET.encode(), "without agent.json"),
        (b'{"colonnade":2,"files":{}}', "version 2"),
        (b'{"colonnade":1,"files":{"../x":"%s"}}' % SECRET.encode(), "not a file name"),
        (b" " * (birth.BYTES_MAX + 1), "longer than"),
    ],
)
def test_what_cannot_be_used_is_refused_without_being_repeated(text: bytes, reason: str) -> None:
    with pytest.raises(birth.Unusable, match=reason) as refused:
        birth.decode(text)
    assert SECRET not in str(refused.value)


def test_more_than_a_cloud_takes_is_not_written() -> None:
    with pytest.raises(birth.Unusable, match="a cloud takes"):
        birth.encode(FILES | {"ca.pem": "x" * birth.BYTES_MAX})


def test_its_name_in_a_log_tells_no_secret() -> None:
    read = birth.decode(birth.encode(FILES))
    assert SECRET not in repr(read)
