# SPDX-License-Identifier: Apache-2.0
"""TLS in haproxy's file: golden text for each feature, and no text of a user is more than a word.

`GOLDEN=write pytest` on this file takes a change of a template over into the golden texts.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.domain.errors import Invalid
from colonnade.domain.listeners import Listener
from colonnade.domain.vocabulary import AlpnProtocol, ClientAuthentication, TlsVersion
from colonnade.drivers.amphora.haproxy.certificates import bind_options, files, hsts
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.drivers.amphora.protocol import Severity
from colonnade.drivers.secrets.protocol import id_of
from colonnade.protocol import paths
from tests.haproxy_tls import FEATURES, ends_tls, write_secrets
from tests.haproxy_trees import TEMPLATES, cluster, pool, tree
from tests.unit.test_render import compare, complaints

ID = "0d2f5a66-9f5c-4a0a-8a53-0c6d1c6f8a11"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="col-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_its_golden_text(feature: str) -> None:
    text = render(FEATURES[feature], (), TEMPLATES).config
    compare(f"{feature}.cfg", "".join(text.partition("# load balancer ")[1:]))


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (ID, ID),
        (ID.upper(), ID),
        (ID.replace("-", ""), ID),
        (f"http://127.0.0.1:9876/v2/lbaas/secrets/{ID}", ID),
        (f"https://a.example/load-balancer/v2.0/secrets/{ID.replace('-', '')}/", ID),
        (f"/v2/lbaas/secrets/{ID}", ID),
        (f"https://key.example/v1/containers/{ID}", None),
        (f"https://a.example/secrets/{ID}/payload", None),
        (f"{ID}0", None),
        (f"x{ID}", None),
        ("", None),
        ("secrets", None),
    ],
)
def test_a_reference_is_an_id_or_a_url_that_ends_in_one(reference: str, found: str | None) -> None:
    assert id_of(reference) == found


def test_hsts_says_what_was_asked_for() -> None:
    assert hsts(ends_tls()) is None
    assert hsts(ends_tls(hsts_max_age=0)) == "'max-age=0'"
    whole = ends_tls(hsts_max_age=7, hsts_include_subdomains=True, hsts_preload=True)
    assert hsts(whole) == "'max-age=7; includeSubDomains; preload'"


def test_a_file_is_named_by_its_use_and_not_by_its_secret() -> None:
    one, other = (
        render(cluster(tree((ends_tls(default_tls_container_ref=ref),), (pool(),))), (), TEMPLATES)
        for ref in ("web", "shop")
    )
    assert one.frame == other.frame
    assert one.config == other.config


odd = st.text(alphabet="AESGCM+!:@=_.-13250TLSecdhr", max_size=60)
some = st.sampled_from(
    ["ECDHE+AESGCM", "TLS_AES_128_GCM_SHA256", "!aNULL", "@SECLEVEL=1", "-", "ALL", "@STRENGTH"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ciphers=st.one_of(odd, st.lists(some, max_size=4).map(":".join)),
    versions=st.lists(st.sampled_from(TlsVersion), unique=True, max_size=4),
    alpn=st.lists(st.sampled_from(AlpnProtocol), unique=True, max_size=3),
    authentication=st.sampled_from(ClientAuthentication),
    members=st.booleans(),
)
def test_whatever_no_objection_refuses_haproxy_takes(
    *,
    folder: Path,
    ciphers: str,
    versions: list[TlsVersion],
    alpn: list[AlpnProtocol],
    authentication: ClientAuthentication,
    members: bool,
) -> None:
    wish: dict[str, Any] = {
        "tls_ciphers": ciphers,
        "tls_versions": tuple(versions),
        "alpn_protocols": tuple(alpn),
    }
    try:
        listener: Listener = ends_tls(
            client_authentication=authentication, client_ca_tls_container_ref="ca", **wish
        )
    except Invalid:
        return
    there: dict[str, Any] = (
        {"tls_enabled": True, "ca_tls_container_ref": "ca", **wish} if members else {}
    )
    root = tree((listener,), (pool(**there),))
    if any(one.severity is Severity.INCOMPATIBLE for one in objections(root)):
        return
    wanted = cluster(root)
    write_secrets(wanted, folder)
    bundle = render(wanted, (), TEMPLATES)
    said = bind_options(listener)
    assert said is not None and "\n" not in said
    assert complaints(bundle.config.replace(paths.SECRETS, str(folder)), folder) == ""
    named = {file.name for file in files(root) if f"{paths.SECRETS}/{file.name}" in bundle.config}
    trusts = authentication is not ClientAuthentication.NONE
    assert (f"{listener.id}.ca.pem" in named) == trusts
