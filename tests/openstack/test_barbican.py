# SPDX-License-Identifier: Apache-2.0
"""The promises of references to secrets, asked of a real Barbican; users fill it by its own API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from colonnade.drivers.openstack.session import Session
from colonnade.drivers.secrets.barbican import Barbican
from colonnade.store.postgres.database import Database
from tests.contract.test_barbican import (  # noqa: F401 - asked of a real one too
    test_every_form_in_which_users_keep_a_certificate_is_read,
)
from tests.contract.test_secret_stores import (  # noqa: F401 - asked of a real one too
    CA,
    REFUSED,
    WEB,
    https,
    test_a_crl_is_signed_by_the_ca_beside_it,
    test_a_reference_leads_to_a_secret_of_the_project_and_the_type,
    test_a_whole_tree_and_a_dry_run_are_held_to_their_references,
    test_another_content_is_served_anew_and_the_same_is_not,
    test_nothing_of_a_key_is_told_logged_or_stored_in_the_clear,
    test_what_ends_soon_is_an_issue_of_what_uses_it,
    test_what_is_no_certificate_is_refused_with_the_reason,
)
from tests.identity_worlds import settings_of
from tests.key_managers import BarbicanStore, over, served
from tests.key_managers import Cloud as Users
from tests.openstack.barbican import USER, barbican
from tests.openstack.environments import installed
from tests.openstack.keystone import (
    SERVICE_PASSWORD,
    Administrator,
    Cloud,
    log_in,
    unique,
)

PASSWORD = "sentinel-tenant-7d0c"


@pytest.fixture(scope="session")
def barbican_url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = installed("barbican")
    asyncio.run(_prepared(cloud))
    with barbican(programs, tmp_path_factory.mktemp("barbican"), cloud) as url:
        asyncio.run(_prepared(cloud, url))
        yield url


async def _prepared(cloud: Cloud, url: str = "") -> None:
    """Barbican's own user, and its place in the catalog."""
    session = Session(cloud.admin())
    made = Administrator(session)
    user = await made.user(USER, SERVICE_PASSWORD)
    await made.grant(user, await made.project("service"), "service", "admin")
    if url:
        await made.endpoint("key-manager", url)
    await session.close()


@pytest.fixture
async def store(
    cloud: Cloud, administrator: Administrator, barbican_url: str, database: Database,
    tmp_path: Path,
) -> AsyncIterator[BarbicanStore]:  # fmt: skip
    tokens, projects = {}, {"own": unique("shop"), "foreign": unique("other")}
    ids = {word: await administrator.project(name) for word, name in projects.items()}
    for word, of in (("own", "own"), ("colleague", "own"), ("foreign", "foreign")):
        name = unique(word)
        await administrator.grant(await administrator.user(name, PASSWORD), ids[of], "member")
        tokens[word] = await log_in(cloud, cloud.credentials(name, PASSWORD, projects[of]).wish())
    settings = settings_of(tmp_path, cloud.url, "lbaas", SERVICE_PASSWORD, timeout_s=60.0)
    who = cloud.credentials("lbaas", SERVICE_PASSWORD, "service")
    key_manager = Barbican(Session(who, timeout_s=60.0))
    async with httpx.AsyncClient(timeout=60) as client:
        users = Users(barbican_url, ids["own"], tokens, key_manager, client)
        async with over(database, users, settings, Session(who, timeout_s=60.0)) as made:
            yield made


async def test_users_of_secrets_are_registered_and_removed(store: BarbicanStore) -> None:
    web, ca = await store.keep(WEB), await store.cloud.secret(CA.public)
    root = await store.api.load_balancer("amphora")
    shown = await https(store, 201, root, default_tls_container_ref=web)
    pool = await store.api.pool(root, tls_enabled=True, ca_tls_container_ref=ca)
    for _ in range(2):
        await store.look()
        (one,) = await store.cloud.consumers(web)
        assert (one["name"], one["URL"]) == ("Octavia", f"octavia://listeners/{shown['id']}")
        (one,) = await store.cloud.consumers(ca)
        assert (one["resource_type"], one["resource_id"]) == ("pools", pool["id"])
    await store.api.delete(f"loadbalancers/{root['id']}?cascade=true")
    for _ in range(2):
        await store.look()
        assert await store.cloud.consumers(web) == []
        assert await store.cloud.consumers(ca) == []


async def test_a_private_secret_is_its_owners_and_what_is_withdrawn_is_served_on(
    store: BarbicanStore,
) -> None:
    cloud, root = store.cloud, await store.api.load_balancer("amphora")
    private = await cloud.secret(WEB.pem)
    nobody = {"read": {"users": [], "project-access": False}}
    await cloud.ask("PUT", f"{private}/acl", nobody)
    shown = await https(store, 201, root, default_tls_container_ref=private)
    acl = (await cloud.ask("GET", f"{private}/acl"))["read"]
    assert (len(acl["users"]), acl["project-access"]) == (1, False)
    store.api.client.headers["X-Auth-Token"] = cloud.tokens["colleague"]
    more = {"default_tls_container_ref": private, "protocol_port": 444}
    assert (await https(store, 400, root, **more))["faultstring"] == REFUSED.format(private)
    await store.look()
    await cloud.ask("PUT", f"{private}/acl", nobody)
    await store.look()
    told = (await store.api.get(f"listeners/{shown['id']}"))["listener"]["issues"]
    assert "may not read all of it there" in str(told)
    assert (await served(store, private)).split() == WEB.pem.split()
