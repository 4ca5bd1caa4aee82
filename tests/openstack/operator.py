# SPDX-License-Identifier: Apache-2.0
"""What the operator of a cloud makes in its services."""

from typing import Any

from colonnade.drivers.openstack.session import Session


class Operator:
    """Of one service."""

    def __init__(self, session: Session, url: str) -> None:
        self.session = session
        self.url = url

    async def post(self, noun: str, **about: Any) -> dict[str, Any]:
        body = {noun.replace("-", "_"): about}
        answer = await self.session.ask("POST", f"{self.url}/{noun}s", body=body)
        assert answer.status in (200, 201, 202), answer.body
        return answer.within(noun.replace("-", "_"), dict[str, Any])

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.session.ask("GET", f"{self.url}/{path}")
        assert answer.status == 200, answer.body
        return answer.read(dict[str, Any])


class Networks(Operator):
    """What an operator, or a user, makes in Neutron."""

    def __init__(self, session: Session, url: str) -> None:
        super().__init__(session, f"{url}/v2.0")

    async def network(self, name: str, *cidrs: str, **more: Any) -> tuple[str, list[str]]:
        """Its id, and those of its subnets."""
        made = await self.post("network", name=name, **more)
        subnets = [
            await self.post(
                "subnet", network_id=made["id"], cidr=cidr, ip_version=6 if ":" in cidr else 4,
                enable_dhcp=False,
            )
            for cidr in cidrs
        ]  # fmt: skip
        return made["id"], [one["id"] for one in subnets]

    async def lend(self, network: str, project: str) -> None:
        """To one other project (RBAC)."""
        about = {"object_type": "network", "object_id": network, "action": "access_as_shared",
                 "target_tenant": project}  # fmt: skip
        url = f"{self.url}/rbac-policies"
        answer = await self.session.ask("POST", url, body={"rbac_policy": about})
        assert answer.status == 201, answer.body

    async def clear(self) -> None:
        await self.get("networks")  # a Neutron that is asked for ports first of all answers 500
        for plural in ("ports", "networks", "security-groups"):
            for one in (await self.get(plural))[plural.replace("-", "_")]:
                if one.get("name") == "default":
                    continue  # Neutron's own
                answer = await self.session.ask("DELETE", f"{self.url}/{plural}/{one['id']}")
                assert answer.status == 204, answer.body


class Computing(Operator):
    """What an operator makes in Nova and Glance."""

    def __init__(self, session: Session, compute: str, image: str) -> None:
        super().__init__(session, compute)
        self._images = Operator(session, f"{image}/v2")

    async def flavor(self, name: str) -> None:
        known = [one["name"] for one in (await self.get("flavors"))["flavors"]]
        if name not in known:
            await self.post("flavor", name=name, ram=64, vcpus=1, disk=0)

    async def image(self, tag: str) -> str:
        """An active one, of a few bytes."""
        session, root = self._images.session, f"{self._images.url}/images"
        about = {"name": tag, "tags": [tag], "disk_format": "raw", "container_format": "bare"}
        made = (await session.ask("POST", root, body=about)).read(dict[str, Any])
        headers = {"Content-Type": "application/octet-stream"}
        url = f"{root}/{made['id']}/file"
        answer = await session.ask("PUT", url, body="an image", headers=headers)
        assert answer.status == 204, answer.body
        return str(made["id"])

    async def servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.get("servers/detail"))["servers"]
        return found
