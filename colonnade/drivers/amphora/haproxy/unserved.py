# SPDX-License-Identifier: Apache-2.0
"""Attributes that this driver cannot render yet: refused by name, never ignored."""

from collections.abc import Iterator

from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora.protocol import Objection, Severity

OF_LOAD_BALANCER = ("additional_vips",)
OF_LISTENER: tuple[str, ...] = ()
OF_POOL = ("drain_seconds",)


def unserved(tree: LoadBalancer) -> Iterator[Objection]:
    places: list[tuple[str, object, tuple[str, ...]]] = [("", tree, OF_LOAD_BALANCER)]
    places += [(f"listeners/{x.id}/", x, OF_LISTENER) for x in tree.listeners]
    places += [(f"pools/{pool.id}/", pool, OF_POOL) for pool in tree.pools]
    for place, node, fields in places:
        for field in fields:
            if getattr(node, field):
                yield _incompatible(f"{place}{field}", "is not served by this provider yet.")
    if tree.vip.sg_ids:
        yield _incompatible("vip_sg_ids", "needs a network service with security groups.")
    for pool in tree.pools:
        if any(member.request_sriov for member in pool.members):
            yield _incompatible(f"pools/{pool.id}/request_sriov", "needs hardware with SR-IOV.")


def _incompatible(path: str, reason: str) -> Objection:
    return Objection(Severity.INCOMPATIBLE, path, reason)
