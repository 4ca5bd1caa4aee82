# SPDX-License-Identifier: Apache-2.0
"""What an amphora is born with, as one text: the `user_data` of a server, on its config drive.

A compute driver writes it, a guest reads it once, as it starts. Invariant: what is read is whole
and has a bounded size, or it is refused. It holds a private key: no error repeats any of it. No
sockets here.
"""

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

VERSION: Final = 1
LABEL: Final = "config-2"  # of the drive, in capitals too
USER_DATA: Final = "openstack/latest/user_data"
NETWORK_DATA: Final = "openstack/latest/network_data.json"
BYTES_MAX: Final = 65535 // 4 * 3  # Nova counts it as base64

AGENT: Final = "agent.json"
IDENTITY: Final = "agent.pem"
AUTHORITIES: Final = "ca.pem"
HEARTBEAT_KEY: Final = "heartbeat.key"
NEEDED: Final = frozenset((AGENT, IDENTITY, AUTHORITIES, HEARTBEAT_KEY))


class Unusable(ValueError):
    """Nothing that an amphora can be born with; why, without any of it."""


class Birth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`files`: the texts of `paths.CONFIG_DRIVE`, by their names (`Boot.config_drive`). `lb_mac`:
    which interface is on the LB network; "": the first that the drive's network data tells of."""

    colonnade: int  # `VERSION`
    files: Mapping[str, str]
    lb_mac: str = ""

    def __repr__(self) -> str:
        return f"Birth({sorted(self.files)})"


def encode(files: Mapping[str, str], lb_mac: str = "") -> bytes:
    """The text, before base64. Raises Unusable."""
    text = msgspec.json.encode(_sound(Birth(colonnade=VERSION, files=files, lb_mac=lb_mac)))
    if len(text) > BYTES_MAX:
        raise Unusable(f"{len(text)} bytes, and a cloud takes {BYTES_MAX}")
    return text


def user_data(files: Mapping[str, str], lb_mac: str = "") -> str:
    """The same as Nova wants it said. Raises Unusable."""
    return base64.b64encode(encode(files, lb_mac)).decode()


def decode(text: bytes) -> Birth:
    """Raises Unusable."""
    if len(text) > BYTES_MAX:
        raise Unusable(f"longer than {BYTES_MAX} bytes")
    try:
        birth = msgspec.json.decode(text, type=Birth)
    except msgspec.MsgspecError:
        raise Unusable("not the JSON that a controller writes") from None
    return _sound(birth)


def _sound(birth: Birth) -> Birth:
    if birth.colonnade != VERSION:
        raise Unusable(f"version {birth.colonnade}, and this release knows {VERSION}")
    for name in birth.files:
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise Unusable(f"{name[:80]!r} is not a file name")
    missing = sorted(NEEDED - birth.files.keys())
    if missing:
        raise Unusable(f"without {', '.join(missing)}")
    return birth
