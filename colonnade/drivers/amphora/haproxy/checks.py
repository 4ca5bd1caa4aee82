# SPDX-License-Identifier: Apache-2.0
"""Health monitors as haproxy's checks of servers.

What haproxy cannot check is not in `SERVED_MONITORS`. Texts of users leave here as `Word`s.
"""

from typing import Final

from colonnade.domain.errors import require
from colonnade.domain.pools import HealthMonitor
from colonnade.domain.vocabulary import HTTP_MONITORS, MonitorType
from colonnade.drivers.amphora.haproxy import words
from colonnade.drivers.amphora.haproxy.sections import Check, HttpCheck
from colonnade.drivers.amphora.haproxy.words import Word

SERVED_MONITORS: Final = HTTP_MONITORS | {MonitorType.TCP, MonitorType.TLS_HELLO}
DELAY_MS_MIN: Final = 1000  # a delay of 0 means as often as sensible; haproxy refuses 0


def check(monitor: HealthMonitor | None, vip: str) -> Check | None:
    if monitor is None or not monitor.admin_state_up or monitor.type not in SERVED_MONITORS:
        return None
    return Check(
        interval=words.milliseconds(max(monitor.delay * 1000, DELAY_MS_MIN)),
        timeout=words.milliseconds(monitor.timeout * 1000) if monitor.timeout else None,
        rise=monitor.max_retries,
        fall=monitor.max_retries_down,
        tls=monitor.type in (MonitorType.HTTPS, MonitorType.TLS_HELLO),
        http=http_check(monitor, vip) if monitor.type in HTTP_MONITORS else None,
    )


def http_check(monitor: HealthMonitor, address: str = "192.0.2.1") -> HttpCheck:
    """The request of an HTTP or HTTPS monitor. Raises Invalid where a text does not fit.

    HTTP/1.1 requires a Host: without a domain name it is the VIP's address, as for a client
    that knows no name (RFC 9112, 3.2).
    """
    version = monitor.http_version or 1.0
    require("http_version", version in (1.0, 1.1), "must be 1.0 or 1.1")
    named = words.host(monitor.domain_name) if monitor.domain_name is not None else None
    return HttpCheck(
        method=words.method(monitor.http_method or "GET"),
        path=words.url_path(monitor.url_path or "/"),
        codes=words.status_codes(monitor.expected_codes or "200"),
        version=Word(f"HTTP/{version:.1f}"),
        host=None if version == 1.0 else named or words.address(address),
    )
