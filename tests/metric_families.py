# SPDX-License-Identifier: Apache-2.0
"""Every metric that any process may tell, with something in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.metrics_core import Metric

from colonnade.api.app import counts_of
from colonnade.api.extras.project_metrics import Statuses
from colonnade.api.extras.statistics import exposition
from colonnade.controller import amphora_metrics
from colonnade.controller import metrics as of_controller
from colonnade.domain.ids import (
    AmphoraId,
    ListenerId,
    LoadBalancerId,
    MemberId,
    PoolId,
    ProjectId,
    new_id,
)
from colonnade.domain.secrets import Facts, Secret, SecretId, SecretType
from colonnade.domain.upgrading import State, StepState
from colonnade.drivers.compute.protocol import Instance, InstanceState
from colonnade.drivers.network_daemon import metrics as of_network
from colonnade.health import intake, judgement
from colonnade.health import metrics as of_health
from colonnade.notifier import metrics as of_notifier
from colonnade.protocol.messages import Info, Numbers, ServerStatus, StatusReport
from colonnade.runtime import metrics
from colonnade.runtime.certificate_authority import Authority
from colonnade.store.extras import webhooks
from colonnade.store.fleet import daemons, failovers
from colonnade.store.postgres.pool_metrics import Pool, pool_families
from colonnade.store.reports.traffic import (
    ListenerCounted,
    ListenerTraffic,
    MemberCounted,
    MemberTraffic,
)
from colonnade.store.standing import Amphorae, Standing, Work
from colonnade.store.trees.current_statuses import Count, Status

NOW = datetime(2026, 1, 31, tzinfo=UTC)
STANDING = Standing(
    amphorae=[Amphorae("default", "SERVING", 3, 1)],
    work=[Work("cluster", 1, 2, 3, 1, 4.5)],
    spare_targets={new_id(): 1},
    load_balancers=[Count("ACTIVE", "ONLINE", 2)],
    daemons={"controller": 1},
    first_certificate_ends=NOW,
    outdated={("default", "SERVING"): 1},
    upgrade={StepState.DONE: 2},
    upgrade_state=State.RUNNING,
)
INFO = Info(amphora_id="", agent_version="1", haproxy_version="2", generation=1, started_at=1.0)
NUMBERS = Numbers(resident_bytes=7, cpu_s=1.5, open_files=9)
STATUS = StatusReport(
    generation=1,
    haproxy_running=True,
    servers=(ServerStatus(backend="p", name="m", state="UP"),),
)
# Counters of whole processes are there once their module is.
COUNTING = (
    intake.DROPPED,
    of_health.JUDGING,
    of_health.UNWRITTEN,
    of_notifier.SECONDS,
    of_notifier.EVENTS,
    failovers.FAILOVERS,
    judgement.SAFE_MODE,
    judgement.HELD,
    daemons.MISSED,
)


async def of_processes(folder: Path) -> Sequence[Metric]:
    """Of all processes, as if they were one. `folder`: for certificates."""
    ca = Authority.new()
    (folder / "ca.pem").write_text(ca.certificate)
    (folder / "api.pem").write_text(Authority(ca).issue("api", days=1).pem)
    counts = counts_of(2)
    counts.count(1, 200, 0.1)
    of_network.REQUESTS.labels("GET", "/v1/ports", "200")
    of_controller.PASSES.labels("cluster", "done")
    of_controller.PASS_SECONDS.labels("cluster")
    of_controller.FORGOTTEN.labels("events")
    of_notifier.MESSAGES.labels("failed")
    of_notifier.NOTIFICATIONS.labels("failed")
    failovers.FAILOVERS.labels("silent")
    daemons.MISSED.labels("health")
    instance = Instance(amphora_id=AmphoraId(new_id()), state=InstanceState.RUNNING, host="")
    database = {one.name for one in pool_families(Pool())}
    return [
        *(one for one in await metrics.own() if one.name.startswith("colonnade")),
        *(one for one in await counts.families() if one.name not in database),
        *pool_families(Pool(size=3, idle=1)),
        of_controller.answers_at_all(True),
        *of_controller.families(STANDING, 2),
        *of_health.of_datagrams(7, {"tag": 1}, 1),
        *of_notifier.families(webhooks.Standing(3, 2, 1, 4.5), 2.5),
        *of_network.families([instance], {("public", "203.0.113.0/24"): (1, 252)}),
        *amphora_metrics.families(new_id(), INFO, STATUS, NUMBERS),
        *await metrics.certificates(folder / "api.pem"),
    ]


def text_of_project() -> bytes:
    """Of a load balancer with one object of each noun."""
    root, pool = LoadBalancerId(new_id()), PoolId(new_id())
    listener = ListenerCounted(root, "web", ListenerId(new_id()), "", ListenerTraffic(bytes_in=1))
    member = MemberId(new_id())
    counted = MemberCounted(root, "web", pool, "p", member, "", MemberTraffic(response_ms=1500))
    secret = Secret(
        id=SecretId(new_id()),
        project_id=ProjectId("p"),
        type=SecretType.CERTIFICATE,
        facts=Facts(issuer="i", fingerprint="f", not_before=NOW, not_after=NOW),
    )
    objects = {
        "load_balancers": [Status(root, "web", root, "web", "", "", "ACTIVE", "ONLINE")],
        "listeners": [Status(root, "web", listener.id, "", "", "", "ACTIVE", "ONLINE")],
        "pools": [Status(root, "web", pool, "p", "", "", "ACTIVE", "ONLINE")],
        "members": [Status(root, "web", member, "", pool, "p", "ACTIVE", "ERROR")],
    }
    return exposition([listener], [counted], Statuses(objects=objects, secrets=[secret]))
