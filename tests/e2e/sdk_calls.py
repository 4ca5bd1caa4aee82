# SPDX-License-Identifier: Apache-2.0
"""Use all of openstacksdk's load-balancer proxy against an endpoint; prints what was not used.

Run by the Python of the clients' environment: ENDPOINT (or a cloud's name) and SUBNET are its
arguments. A result that is not as expected ends it with a traceback.
"""

import sys
import time
import uuid
from typing import Any

WITHIN_S = 60.0


class Used:
    """The proxy, noting which of its methods are called."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._proxy, name)


def connect(endpoint: str) -> Any:
    """By the address; or by a cloud of clouds.yaml, and its catalog."""
    import openstack  # type: ignore[import-not-found]

    if not endpoint.startswith("http"):
        return openstack.connect(cloud=endpoint).load_balancer
    return openstack.connect(auth_type="none", endpoint=endpoint).load_balancer


def use_tree(lb: Any, subnet: str) -> Any:
    root = lb.create_load_balancer(name="web", vip_subnet_id=subnet, tags=["t"])
    root = lb.wait_for_load_balancer(root.id)
    assert lb.find_load_balancer("web").id == root.id
    assert [x.id for x in lb.load_balancers(name="web", tags=["t"])] == [root.id]
    assert lb.update_load_balancer(root, description="d").description == "d"
    lb.wait_for_status(lb.get_load_balancer(root.id), "ACTIVE", attribute="provisioning_status")
    listener = lb.create_listener(
        name="front", protocol="HTTP", protocol_port=80, loadbalancer_id=root.id
    )
    assert lb.find_listener("front").id == listener.id
    assert lb.update_listener(listener, connection_limit=9).connection_limit == 9
    assert lb.get_listener(listener.id).load_balancers == [{"id": root.id}]
    assert [x.id for x in lb.listeners()] == [listener.id]
    pool = lb.create_pool(
        name="back", protocol="HTTP", lb_algorithm="ROUND_ROBIN", listener_id=listener.id
    )
    assert lb.find_pool("back").id == pool.id
    assert lb.update_pool(pool, lb_algorithm="SOURCE_IP").lb_algorithm == "SOURCE_IP"
    assert lb.get_pool(pool.id).listeners == [{"id": listener.id}]
    assert [x.id for x in lb.pools()] == [pool.id]
    member = lb.create_member(pool, name="one", address="10.0.0.11", protocol_port=80)
    assert lb.find_member("one", pool).id == member.id
    assert lb.update_member(member, pool, weight=5).weight == 5
    assert lb.get_member(member, pool).weight == 5
    assert [x.id for x in lb.members(pool)] == [member.id]
    check = lb.create_health_monitor(
        name="check", pool_id=pool.id, type="HTTP", delay=5, timeout=3, max_retries=2
    )
    assert lb.find_health_monitor("check").id == check.id
    assert lb.update_health_monitor(check, delay=7).delay == 7
    assert lb.get_health_monitor(check.id).pools == [{"id": pool.id}]
    assert [x.id for x in lb.health_monitors()] == [check.id]
    return root, listener, pool, member, check


def use_l7(lb: Any, listener: Any) -> None:
    policy = lb.create_l7_policy(
        name="away", listener_id=listener.id, action="REDIRECT_TO_URL", redirect_url="http://e.org/"
    )
    assert lb.find_l7_policy("away").id == policy.id
    assert lb.update_l7_policy(policy, description="d").description == "d"
    assert lb.get_l7_policy(policy.id).position == 1
    assert [x.id for x in lb.l7_policies()] == [policy.id]
    rule = lb.create_l7_rule(policy, type="PATH", compare_type="EQUAL_TO", value="/a")
    assert lb.find_l7_rule(rule.id, policy).id == rule.id
    assert lb.update_l7_rule(rule, policy, invert=True).invert is True
    assert lb.get_l7_rule(rule.id, policy).rule_value == "/a"
    assert [x.id for x in lb.l7_rules(policy)] == [rule.id]
    lb.delete_l7_rule(rule, policy)
    lb.delete_l7_policy(policy)


def use_statistics_and_deletes(lb: Any, made: Any) -> None:
    root, listener, pool, member, check = made
    assert lb.get_load_balancer_statistics(root.id).total_connections == 0
    assert lb.get_listener_statistics(listener.id).bytes_in == 0
    lb.wait_for_load_balancer(root.id)
    lb.failover_load_balancer(root.id)
    lb.wait_for_load_balancer(root.id)
    for amphora in serving(lb, root):
        assert lb.get_amphora(amphora.id).status == "ALLOCATED"
        assert lb.find_amphora(amphora.id).id == amphora.id
        lb.configure_amphora(amphora.id)
        lb.failover_amphora(amphora.id)
        lb.wait_for_load_balancer(root.id)
    nobody = str(uuid.uuid4())
    for call in (lb.get_amphora, lb.configure_amphora, lb.failover_amphora):
        refused(call, nobody)
    refused(lambda key: lb.find_amphora(key, ignore_missing=False), nobody)
    lb.delete_member(member, pool)
    lb.delete_health_monitor(check)
    lb.delete_pool(pool)
    lb.delete_listener(listener)
    lb.delete_load_balancer(root, cascade=True)
    lb.wait_for_delete(root)
    assert list(lb.load_balancers()) == []


def serving(lb: Any, root: Any) -> list[Any]:
    """The amphorae that serve it. One that was replaced is listed until it has ended."""
    until = time.monotonic() + WITHIN_S
    while True:
        amphorae = [x for x in lb.amphorae() if x.loadbalancer_id == root.id]
        if found := [x for x in amphorae if x.status == "ALLOCATED"]:
            return found
        assert time.monotonic() < until, amphorae
        time.sleep(0.2)


def refused(call: Any, key: str) -> None:
    from openstack import exceptions

    try:
        call(key)
    except exceptions.HttpException:
        return
    raise AssertionError(f"{call} took {key}")


def use_catalogue(lb: Any) -> None:
    profile = lb.create_flavor_profile(
        name="fp", provider_name="amphora", flavor_data='{"loadbalancer_topology": "SINGLE"}'
    )
    assert lb.find_flavor_profile("fp").id == profile.id
    assert lb.update_flavor_profile(profile, name="fp2").name == "fp2"
    assert lb.get_flavor_profile(profile.id).provider_name == "amphora"
    assert [x.id for x in lb.flavor_profiles()] == [profile.id]
    flavor = lb.create_flavor(name="f", flavor_profile_id=profile.id)
    assert lb.find_flavor("f").id == flavor.id
    assert lb.update_flavor(flavor, description="d").description == "d"
    assert lb.get_flavor(flavor.id).is_enabled is True
    assert [x.id for x in lb.flavors()] == [flavor.id]
    lb.delete_flavor(flavor)
    lb.delete_flavor_profile(profile)
    profile = lb.create_availability_zone_profile(
        name="zp", provider_name="amphora", availability_zone_data='{"compute_zone": "nova"}'
    )
    assert lb.find_availability_zone_profile("zp").id == profile.id
    assert lb.update_availability_zone_profile(profile, name="zp2").name == "zp2"
    assert lb.get_availability_zone_profile(profile.id).provider_name == "amphora"
    assert [x.id for x in lb.availability_zone_profiles()] == [profile.id]
    zone = lb.create_availability_zone(name="az", availability_zone_profile_id=profile.id)
    assert lb.find_availability_zone("az").name == "az"
    assert lb.update_availability_zone("az", description="d").description == "d"
    assert lb.get_availability_zone("az").availability_zone_profile_id == profile.id
    assert [x.name for x in lb.availability_zones()] == ["az"]
    lb.delete_availability_zone(zone.name)
    lb.delete_availability_zone_profile(profile)


def use_quotas_and_providers(lb: Any) -> None:
    assert lb.get_quota_default().load_balancers == -1
    assert lb.update_quota("p1", listeners=4).listeners == 4
    assert lb.get_quota("p1").listeners == 4
    assert len(list(lb.quotas())) == 1
    lb.delete_quota("p1")
    assert {"amphora", "octavia"} <= {x.name for x in lb.providers()}
    assert [x.name for x in lb.provider_flavor_capabilities("amphora")]


def main(endpoint: str, subnet: str) -> None:
    from openstack.load_balancer.v2 import _proxy  # type: ignore[import-not-found]

    lb = Used(connect(endpoint))
    made = use_tree(lb, subnet)
    use_l7(lb, made[1])
    use_statistics_and_deletes(lb, made)
    use_catalogue(lb)
    use_quotas_and_providers(lb)
    public = {n for n, f in vars(_proxy.Proxy).items() if callable(f) and not n.startswith("_")}
    sys.stdout.write(" ".join(sorted(public - lb.names)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
