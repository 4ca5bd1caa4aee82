# SPDX-License-Identifier: Apache-2.0
"""Health monitors: which attributes go with which type, and which type with which pool.

Only HTTP and HTTPS monitors have a method, a path and codes; for them the wire contract's
defaults are filled in here, for the others they are refused.
"""

from typing import Final

from msgspec.structs import asdict

from colonnade.api.http.decoding import Body, Fields
from colonnade.domain.errors import Invalid
from colonnade.domain.pools import HTTP_DEFAULTS, HealthMonitor, Pool, is_host_name
from colonnade.domain.vocabulary import DATAGRAM_POOLS, HTTP_MONITORS, MonitorType

HTTP_ONLY: Final = (*HTTP_DEFAULTS, "http_version", "domain_name")
DATAGRAM_MONITORS: Final = frozenset({MonitorType.UDP_CONNECT, MonitorType.SCTP})
UDP_DELAY_MIN: Final = 3  # contract
MONITORS_OF_DATAGRAM_POOLS: Final = DATAGRAM_MONITORS | {MonitorType.TCP, MonitorType.HTTP}


def read_health_monitor(fields: Fields, _body: Body) -> Fields:
    kind: MonitorType = fields["type"]
    if kind in HTTP_MONITORS:
        fields = HTTP_DEFAULTS | fields
    return _checked(_for_type(kind, fields))


def change_health_monitor(fields: Fields, monitor: HealthMonitor, _body: Body) -> Fields:
    return _checked(asdict(monitor) | _for_type(monitor.type, fields))


def check_pool(pool: Pool) -> None:
    """Raises Invalid for a pool that cannot have the monitor that it has."""
    monitor = pool.health_monitor
    if monitor is None:
        return
    datagram = pool.protocol in DATAGRAM_POOLS
    fits = (
        monitor.type in MONITORS_OF_DATAGRAM_POOLS
        if datagram
        else monitor.type not in DATAGRAM_MONITORS
    )
    if not fits:
        raise Invalid(
            f"a {pool.protocol.value} pool cannot have a {monitor.type.value} health monitor",
            field="type",
        )
    if monitor.type is MonitorType.UDP_CONNECT and monitor.delay < UDP_DELAY_MIN:
        raise Invalid(
            f"delay must be {UDP_DELAY_MIN} or more for type {monitor.type.value}", field="delay"
        )


def _for_type(kind: MonitorType, fields: Fields) -> Fields:
    if kind in HTTP_MONITORS:
        for name, default in HTTP_DEFAULTS.items():
            if name in fields and fields[name] is None:
                fields[name] = default
        if fields.get("http_version") not in (None, 1.0, 1.1):
            raise Invalid(
                "Invalid input for field/attribute http_version. "
                f"Value: '{fields['http_version']}'. Value should be one of: 1.0, 1.1"
            )
        return fields
    named = [name for name in HTTP_ONLY if fields.get(name) is not None]
    if named:
        raise Invalid(
            f"{', '.join(named)} only go with types HTTP and HTTPS, not with {kind.value}",
            field=named[0],
        )
    return fields


def _checked(fields: Fields) -> Fields:
    """What no provider may accept, whichever of the attributes came first."""
    if fields.get("domain_name") is not None and fields.get("http_version") != 1.1:
        raise Invalid("domain_name needs http_version 1.1", field="domain_name")
    for name, rule, holds in (
        ("domain_name", "a host name, an international one in ASCII", is_host_name),
        ("url_path", "printable", str.isprintable),
        ("expected_codes", "a code, a list or a range, lowest first", _is_ascending),
    ):
        value = fields.get(name)
        if value is not None and not holds(value):
            raise Invalid(
                f"Invalid input for field/attribute {name}. Value: '{value}'. "
                f"Value should be {rule}"
            )
    return fields


def _is_ascending(codes: str) -> bool:
    first, _, last = codes.partition("-")
    return not last or int(first) <= int(last)
