# SPDX-License-Identifier: Apache-2.0
"""Lines as log records of OpenTelemetry: OTLP over HTTP, in JSON, packed.

https://opentelemetry.io/docs/specs/otlp/#otlphttp. Records that a collector rejects for good are
not sent again; anything but success repeats the whole file.
"""

import gzip
import time
from typing import Any, Final

import msgspec

from colonnade.agent.logs.lines import batches, time_of
from colonnade.agent.logs.web import send
from colonnade.protocol.logs import LogPlace

_HEADERS: Final = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
_INFO: Final = 9  # SeverityNumber


def post(path: str, place: LogPlace) -> None:
    """Raises Failed, OSError."""
    for lines in batches(path):
        body = gzip.compress(msgspec.json.encode(request(lines, place.labels)), 5)
        send("POST", place, body, len(body), _HEADERS)


def request(lines: list[bytes], labels: dict[str, str]) -> dict[str, Any]:
    """An ExportLogsServiceRequest."""
    resource = {"service.name": "colonnade"}
    resource |= {f"colonnade.{name}.id": value for name, value in labels.items()}
    records = [_record(line) for line in lines]
    scope = {"scope": {"name": "colonnade.access"}, "logRecords": records}
    attributes = [{"key": k, "value": {"stringValue": v}} for k, v in resource.items()]
    return {"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [scope]}]}


def _record(line: bytes) -> dict[str, Any]:
    at = time_of(line)
    record: dict[str, Any] = {
        "observedTimeUnixNano": str(time.time_ns()),
        "severityNumber": _INFO,
        "severityText": "INFO",
        "body": {"stringValue": line.decode(errors="replace")},
    }
    if at is not None:
        record["timeUnixNano"] = str(int(at * 1000) * 1_000_000)  # it has milliseconds
    return record
