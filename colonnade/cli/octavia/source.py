# SPDX-License-Identifier: Apache-2.0
"""The Octavia that load balancers come from: read, told to stop answering, and to answer again.

That one was told to stop is written there, as a tag in the same request: whoever is interrupted
finds it. With Keystone's credentials the ports of its amphorae are closed too, in Neutron, so that
nothing there answers for a VIP any more. Each step may be repeated.
"""

from typing import Any

import msgspec

from colonnade.cli.objects.full_tree import read_whole
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import gone, settled
from colonnade.cli.octavia.translating import RELEASED, is_released
from colonnade.domain.errors import Broken, NotFound, Refused
from colonnade.drivers.network.neutron.driver import neutron_client
from colonnade.drivers.network.neutron.wire import OWNER, VIP_DEVICE, NeutronPort, checked
from colonnade.drivers.openstack.session import Session as CloudSession

Shown = dict[str, Any]


class Ports:
    """Neutron's, as an operator sees them."""

    def __init__(self, cloud: CloudSession) -> None:
        self._neutron = neutron_client(cloud)

    async def find(self, port_id: str) -> NeutronPort | None:
        answer = await self._neutron.ask("GET", f"ports/{port_id}")
        return None if answer.status == 404 else checked(answer).within("port", NeutronPort)

    async def change(self, port_id: str, **said: Any) -> bool:
        """False: there is no such port."""
        answer = await self._neutron.ask("PUT", f"ports/{port_id}", body={"port": said})
        if answer.status == 404:
            return False
        checked(answer)
        return True


class Source(msgspec.Struct, frozen=True):
    """`ports` None: without Keystone's credentials."""

    session: Session
    ports: Ports | None

    async def roots(self, names: list[str]) -> list[str]:
        """Their ids; of all load balancers when none is named."""
        names_of, noun = self.session.names, self.session.names.noun("lb")
        if names:
            return [await names_of.id("lb", name) for name in names]
        return [str(one["id"]) for one in await names_of.every(noun)]

    async def whole(self, root_id: str) -> Shown:
        return await read_whole(self.session, root_id)

    async def find(self, root_id: str) -> Shown | None:
        try:
            answer = await self.session.rest.get(f"lbaas/loadbalancers/{root_id}")
        except NotFound:
            return None
        found: Shown = answer["loadbalancer"]
        return found

    async def release(self, shown: Shown) -> list[str]:
        """Nothing there answers for its VIPs once it is done. What was done, in words."""
        done = []
        if shown["admin_state_up"]:
            tags = [*(shown.get("tags") or ()), RELEASED]
            await self._put(shown["id"], admin_state_up=False, tags=tags)
            done.append("switched off there")
        closed = await self._doors(shown, is_open=False)
        return [*done, f"{closed} ports of its amphorae closed"] if closed else done

    async def give_back(self, root_id: str) -> list[str]:
        """It answers again as it did before."""
        shown = await self.find(root_id)
        if shown is None:
            raise NotFound(f"load balancer {root_id} is no longer there: nothing can be given back")
        opened = await self._doors(shown, is_open=True)
        done = [f"{opened} ports of its amphorae opened"] if opened else []
        if is_released(shown):
            tags = [tag for tag in shown["tags"] if tag != RELEASED]
            await self._put(root_id, admin_state_up=True, tags=tags)
            done.append("switched on there")
        return done

    async def forget(self, root_id: str, port_id: str) -> list[str]:
        """Deleted there, and its VIP's port kept: it has another owner meanwhile."""
        device = f"{VIP_DEVICE}{root_id}"
        if self.ports is None:
            raise Refused(
                "its VIP's port would be deleted with it: give Keystone's credentials (--cloud, or "
                f"OS_*), or do it yourself: openstack port set --device-owner none {port_id}; "
                f"openstack loadbalancer delete --cascade {root_id}; once it is gone, "
                f"openstack port set --device-owner {OWNER} --device {device} {port_id}"
            )
        port = await self.ports.find(port_id)
        if port is None:
            raise Broken(f"there is no port {port_id} in Neutron")
        done = []
        is_theirs = port.device_owner == OWNER or port.device_id == device
        if await self.find(root_id) is not None:
            if is_theirs:
                await self.ports.change(port_id, device_owner="")
            await self.session.rest.delete(f"lbaas/loadbalancers/{root_id}", {"cascade": "true"})
            await gone(self.session, self.session.names.noun("lb"), root_id, "", ())
            done.append("deleted there")
        if is_theirs:
            await self.ports.change(port_id, device_owner=OWNER, device_id=device)
            done.append(f"port {port_id} kept")
        return done

    async def _put(self, root_id: str, **said: Any) -> None:
        await self.session.rest.put(f"lbaas/loadbalancers/{root_id}", {"loadbalancer": said})
        await settled(self.session, self.session.names.noun("lb"), {"id": root_id})

    async def _doors(self, shown: Shown, *, is_open: bool) -> int:
        """How many ports of its amphorae were changed; the VIP's own stays as it is."""
        if self.ports is None:
            return 0
        answer = await self.session.rest.get("octavia/amphorae", {"loadbalancer_id": shown["id"]})
        ports = {one.get("vrrp_port_id") for one in answer.get("amphorae") or ()}
        ports -= {None, shown.get("vip_port_id")}
        found = [await self.ports.change(one, admin_state_up=is_open) for one in sorted(ports)]
        return found.count(True)
