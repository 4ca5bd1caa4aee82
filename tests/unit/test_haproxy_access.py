# SPDX-License-Identifier: Apache-2.0
"""Allowed CIDRs of listeners, as the bundle carries them; a change of them is no reload."""

from msgspec.structs import replace

from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.drivers.amphora.protocol import Severity
from colonnade.protocol.bundle import Access, Change, plan_change
from tests.haproxy_trees import HTTP, TEMPLATES, cluster, listener, pool, tree


def test_allowed_cidrs_are_rules_of_the_vip_and_change_without_a_reload() -> None:
    plain = tree((listener(1, HTTP), listener(2, HTTP)), (pool(),))
    limited = replace(
        plain,
        listeners=(
            replace(plain.listeners[0], allowed_cidrs=("10.2.0.0/16", "10.1.0.0/16")),
            plain.listeners[1],
        ),
    )
    assert not [one for one in objections(limited) if one.severity is Severity.INCOMPATIBLE]
    before, after = (render(cluster(one), (), TEMPLATES) for one in (plain, limited))
    port = limited.listeners[0].protocol_port
    allowed = ("10.1.0.0/16", "10.2.0.0/16")
    assert before.access == ()
    assert after.access == (Access(address=limited.vip.address, port=port, allowed=allowed),)
    assert before.digest != after.digest
    assert plan_change(before, after) == Change(access=True)
    gone = replace(cluster(limited), deleted=True)
    assert render(gone, (), TEMPLATES).access == ()
