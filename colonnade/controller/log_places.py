# SPDX-License-Identifier: Apache-2.0
"""Places for an amphora's access logs: signed for one object each, or the address to stream to.

Invariant: an amphora gets places for listeners that it serves and nothing else, and never a
credential of an object store. It does get the headers that a collector asks for, because it
sends them. The log lines never pass through the controller.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from colonnade.domain.errors import Broken
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, is_id
from colonnade.domain.log_targets import STORES, TargetType
from colonnade.drivers.logs import s3, swift
from colonnade.drivers.secrets.database import Seal
from colonnade.protocol.logs import (
    COUNTS_MAX,
    FAILURE_MAX,
    FILES_MAX,
    LogFile,
    LogPlace,
    LogPlaces,
    LogQuestion,
)
from colonnade.store.extras import log_targets
from colonnade.store.extras.log_targets import Route
from colonnade.store.postgres.database import Database

EXPIRES_S: Final = 900
NOWHERE: Final = LogPlace()

log = structlog.get_logger()


class Places:
    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    async def answer(self, amphora: Amphora, question: LogQuestion) -> LogPlaces:
        """Give a place for each file, and store what the amphora counted."""
        files = question.files[:FILES_MAX]
        names = {file.listener for file in files if is_id(file.listener)}
        counts = [
            {
                "listener": count.listener,
                "sent": max(0, count.sent),
                "dropped": max(0, count.dropped),
                "failure": count.failure.replace("\0", "")[:FAILURE_MAX],
            }
            for count in question.counts[:COUNTS_MAX]
            if is_id(count.listener)
        ]
        async with self._database.transaction() as connection:
            await log_targets.count(connection, amphora.id, counts)
            routes = await log_targets.routes(connection, amphora.id, sorted(names))
        at = datetime.now(UTC)
        places = [self._place(amphora.id, routes.get(file.listener), file, at) for file in files]
        return LogPlaces(places=tuple(places))

    def _place(
        self, amphora_id: AmphoraId, route: Route | None, file: LogFile, at: datetime
    ) -> LogPlace:
        if route is None:
            return NOWHERE
        try:
            secrets = self._secrets(route)
        except Broken as error:
            # One target that fails must not fail the others in the same question.
            log.error("a log target does not open", target_id=route.target.id, error=str(error))
            return LogPlace(failure="the target's credentials do not open: set them anew")
        return place_of(route, secrets, amphora_id, file, at)

    def _secrets(self, route: Route) -> dict[str, str]:
        if route.sealed is None:
            return {}
        opened = self._seal.unseal(route.sealed, route.target.id)
        return msgspec.json.decode(opened, type=dict[str, str])


def place_of(
    route: Route, secrets: Mapping[str, str], amphora_id: AmphoraId, file: LogFile, at: datetime
) -> LogPlace:
    """Pure. `secrets`: the target's credentials, opened."""
    target = route.target
    place = LogPlace(
        means="PUT" if target.type in STORES else target.type.value,
        url=target.url,
        ca=target.ca_certificate,
        labels={
            "load_balancer": route.load_balancer_id,
            "listener": route.listener_id,
            "amphora": amphora_id,
        },
    )
    if target.type is TargetType.OTLP:
        return msgspec.structs.replace(place, headers=dict(secrets))
    if target.type is TargetType.SYSLOG:
        return place
    key = object_name(route, amphora_id, file)
    if target.type is TargetType.S3:
        bucket = s3.Bucket(
            url=target.url,
            name=target.bucket,
            region=target.region,
            access_key=secrets["access_key"],
            secret_key=secrets["secret_key"],
        )
        url = s3.presigned_put(bucket, key, at=at, expires_s=EXPIRES_S)
    else:
        container = swift.Container(url=target.url, name=target.bucket, key=secrets["temp_url_key"])
        url = swift.temporary_put(container, key, at=at, expires_s=EXPIRES_S)
    return msgspec.structs.replace(place, url=url)


def object_name(route: Route, amphora_id: AmphoraId, file: LogFile) -> str:
    """By load balancer, listener and day, so that a day of one listener is one listing."""
    try:
        begun = datetime.fromtimestamp(file.begun_at, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise ValueError("begun_at is not a time") from error
    place = [route.load_balancer_id, route.listener_id, begun.strftime("%Y/%m/%d")]
    prefix = [route.target.prefix] if route.target.prefix else []
    name = f"{begun:%Y%m%dT%H%M%SZ}-{amphora_id}-{file.sequence}.log.gz"
    return "/".join([*prefix, *place, name])
