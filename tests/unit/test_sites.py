# SPDX-License-Identifier: Apache-2.0
"""Files of sites: what they become, and what is said of those that are wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from colonnade.api.http.decoding import read_body
from colonnade.api.resources import bodies
from colonnade.cli.documents.document import read_document
from colonnade.cli.documents.files import read_documents
from colonnade.cli.documents.sites import Site, document, read_sites
from colonnade.domain import shape
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import new_id

ROOT = Path(__file__).parents[2]


def sites_of(text: str, folder: Path) -> list[Site]:
    file = folder / "sites.yaml"
    file.write_text(text)
    return read_sites(read_documents(file), "sites.yaml")


def by_name(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found}


def test_one_line_is_https_with_a_certificate_and_port_80_leads_there(tmp_path: Path) -> None:
    (site,) = sites_of("example.com: 10.0.0.5:8080\n", tmp_path)
    assert site == Site(names=("example.com",), members=(("10.0.0.5", 8080),))
    made = document("web", "public-subnet", [site])
    listeners = by_name(made["listeners"])
    assert listeners["https"]["default_tls_container_ref"] == "example.com"
    assert listeners["https"]["default_pool"] == "example.com"
    assert "default_pool" not in listeners["http"]
    assert [
        (one["redirect_prefix"], one["rules"][0]["type"]) for one in listeners["http"]["l7policies"]
    ] == [("https://example.com", "HOST_NAME"), ("https://example.com", "PATH")]
    assert made["pools"][0]["members"] == [{"address": "10.0.0.5", "protocol_port": 8080}]


def test_the_example_is_a_document_that_apply_takes() -> None:
    found = read_sites(read_documents(ROOT / "examples" / "sites" / "shops.yaml"), "sites.yaml")
    assert [site.https for site in found] == [True, False, True]
    assert found[0].names == ("shop.example.org", "www.shop.example.org")
    made = document("sites", "public-subnet", found)
    plain = read_document(made)
    plain["vip_subnet_id"] = new_id()  # which the endpoint has under its name
    del plain["vip_subnet"]
    assert read_body(json.dumps({"b": plain}).encode(), bodies.create(shape.LOAD_BALANCERS), "b")
    listeners = by_name(made["listeners"])
    assert listeners["http"]["default_pool"] == "status.example.org"
    assert listeners["https"]["sni_container_refs"] == ["blog.example.org"]
    assert [one["redirect_pool"] for one in listeners["https"]["l7policies"]] == [
        "blog.example.org"
    ]
    assert made["pools"][0]["healthmonitor"]["url_path"] == "/"


def test_the_page_shows_the_example() -> None:
    page = (ROOT / "docs" / "sites.md").read_text()
    example = (ROOT / "examples" / "sites" / "shops.yaml").read_text()
    (shown,) = [one for one in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "members" in one]
    said = (line.partition("#")[0].rstrip() for line in example.splitlines())
    assert shown.splitlines() == [line for line in said if line]


def test_without_https_there_is_port_80_alone(tmp_path: Path) -> None:
    (site,) = sites_of("a.example.com: {members: '[2001:db8::5]:80', https: no}\n", tmp_path)
    assert site.members == (("2001:db8::5", 80),)
    (listener,) = document("web", "s", [site])["listeners"]
    assert (listener["protocol"], listener["l7policies"]) == ("HTTP", [])


WRONG = {
    "": "must have lines such as `example.com: 10.0.0.5:8080`",
    "- example.com": "must have lines such as",
    "a.test: 10.0.0.1:80\nb.test:\n": "sites.yaml, line 2: say where b.test leads",
    "a.test:\n  member: 10.0.0.1:80\n": "sites.yaml, line 2: 'member' is not a word of a site; did "
    "you mean members?",
    "a.test:\n  members: 10.0.0.1:80\n  colour: red\n": "line 3: 'colour' is not a word of a site; "
    "there are: members, also, https, check",
    "a.test: web1:80\n": "line 1: 'web1:80' is not a member: give an IP address and a port",
    "a.test: 10.0.0.1\n": "'10.0.0.1' is not a member",
    "a.test: 10.0.0.1:99999\n": "is not a member",
    "a.test: [10.0.0.1:80, 7]\n": "'7' is not a member",
    "a.test:\n  members: []\n": "line 1: a.test has no members",
    "a.test:\n  members: 10.0.0.1:80\n  https: maybe\n": "line 3: https is yes or no",
    "a.test:\n  members: 10.0.0.1:80\n  check: health\n": "line 3: check is a path",
    "'*.a.test': 10.0.0.1:80\n": "line 1: host_names have *.a.test: wildcards need proof by DNS",
    "a.test: 10.0.0.1:80\nb.test: {members: 10.0.0.1:80, also: a.test}\n": "a.test stands there "
    "twice",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_is_said_with_its_line_and_the_cure(text: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        sites_of(text, tmp_path)
    assert WRONG[text] in raised.value.public
