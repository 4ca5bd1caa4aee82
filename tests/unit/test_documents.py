# SPDX-License-Identifier: Apache-2.0
"""Load balancers as documents: what is read, what is refused, and what differs."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from colonnade.api.http.decoding import read_body
from colonnade.api.resources import bodies
from colonnade.cli.documents.attributes import (
    CHILDREN,
    FIELDS,
    LB,
    LISTENER,
    MEMBER,
    MONITOR,
    POLICY,
    POOL,
    RULE,
)
from colonnade.cli.documents.difference import compare
from colonnade.cli.documents.document import Document, exported, read_document
from colonnade.cli.documents.files import read_documents, written
from colonnade.cli.nouns.index import NOUNS
from colonnade.domain import shape
from colonnade.domain.errors import ColonnadeError, Invalid
from colonnade.domain.ids import new_id

A_MEMBER = {"address": "10.0.0.1", "protocol_port": 80}
A_POOL = {"name": "app", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
A_LISTENER = {"name": "web-80", "protocol": "HTTP", "protocol_port": 80}
A_RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}
WEB = {"kind": "LoadBalancer", "name": "web"}


def web(**more: Any) -> Document:
    return read_document(WEB | more)


def test_what_a_person_wrote_becomes_the_form_of_the_wire() -> None:
    document = web(
        vip_subnet="private",
        description="",
        listeners=[
            A_LISTENER
            | {
                "default_pool": A_POOL | {"members": [A_MEMBER | {"weight": 1}]},
                "connection_limit": -1,
                "l7policies": [
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": "app", "rules": [A_RULE]}
                ],
            }
        ],
        pools=[
            {
                "name": "other", "protocol": "TCP", "lb_algorithm": "SOURCE_IP",
                "healthmonitor": {
                    "type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2,
                    "expected_codes": 204,
                },
            }
        ],
    )  # fmt: skip
    policy = {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "app"}, "rules": [A_RULE]}
    monitor = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2, "expected_codes": "204"}
    assert document == {
        "name": "web",
        "vip_subnet": "private",
        "listeners": [A_LISTENER | {"default_pool": {"name": "app"}, "l7policies": [policy]}],
        "pools": [
            {
                "name": "other", "protocol": "TCP", "lb_algorithm": "SOURCE_IP",
                "healthmonitor": monitor,
            },
            A_POOL | {"members": [A_MEMBER]},
        ],
    }  # fmt: skip


REFUSED: list[tuple[Any, str]] = [
    ([], "is not a document"),
    ({"name": "web"}, "without a `kind`"),
    ({"kind": "Pool", "name": "web"}, "of kind Pool"),
    ({"kind": "LoadBalancer"}, "has no `name`"),
    (WEB | {"vip_subnet_di": "x"}, "did you mean vip_subnet_id"),
    (WEB | {"listeners": {}} | {"listeners": {"a": 1}}, "listeners is not a list"),
    (WEB | {"listeners": [{"name": "a", "protocol": "HTTP"}]}, "protocol_port is missing"),
    (WEB | {"listeners": [A_LISTENER | {"default_pool": "nix"}]}, "default_pool is 'nix'"),
    (WEB | {"listeners": ["x"]}, "is not a listener with attributes"),
    (WEB | {"pools": [{k: A_POOL[k] for k in ("protocol", "lb_algorithm")}]}, "has no name"),
    (WEB | {"pools": [A_POOL, A_POOL]}, "two pools are named 'app'"),
    (
        WEB | {"pools": [A_POOL | {"members": [{"address": "10.0.0.1"}]}]},
        "protocol_port is missing",
    ),
    (WEB | {"pools": [A_POOL | {"wieght": 1}]}, "'wieght' is not an attribute of a pool"),
]


@pytest.mark.parametrize(("found", "says"), REFUSED)
def test_a_mistake_is_refused_with_its_place(found: Any, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_document(found, where="web.yaml")
    assert says in refused.value.public
    assert refused.value.public.startswith("web.yaml")


FULL = web(
    vip_address="203.0.113.7",
    tags=["b", "a"],
    listeners=[
        A_LISTENER
        | {
            "default_pool": "app",
            "allowed_cidrs": ["10.0.0.0/8"],
            "l7policies": [
                {"name": "one", "action": "REJECT", "rules": [A_RULE]},
                {"name": "two", "action": "REDIRECT_TO_URL", "redirect_url": "https://x.test"},
            ],
        }
    ],
    pools=[
        A_POOL
        | {
            "members": [A_MEMBER, A_MEMBER | {"protocol_port": 81, "name": "m2"}],
            "healthmonitor": {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2},
        }
    ],
)


def changed(edit: Any) -> list[str]:
    """What an edit of the full document changes, a line for each."""
    wanted = deepcopy(FULL)
    edit(wanted)
    return [
        f"{one.sign} {' / '.join(one.path[1:])}{f': {one.attribute}' if one.attribute else ''}"
        for one in compare(FULL, wanted)
    ]


def listener(document: Document) -> Any:
    return document["listeners"][0]


def pool(document: Document) -> Any:
    return document["pools"][0]


CHANGES: list[tuple[str, Any, list[str]]] = [
    ("nothing", lambda d: None, []),
    ("the VIP is not said", lambda d: d.pop("vip_address"), []),
    ("another VIP", lambda d: d.update(vip_address="203.0.113.8"), ["~ : vip_address"]),
    ("tags", lambda d: d.update(tags=["c"]), ["~ : tags"]),
    ("a default said", lambda d: listener(d).update(connection_limit=-1), []),
    (
        "cidrs gone", lambda d: listener(d).pop("allowed_cidrs"),
        ["~ listener web-80: allowed_cidrs"],
    ),
    (
        "a listener renamed keeps its port", lambda d: listener(d).update(name="w"),
        ["~ listener w: name"],
    ),
    (
        "another name and port is another listener",
        lambda d: listener(d).update(name="w", protocol_port=81, l7policies=[]),
        ["+ listener w", "+ listener w: protocol", "+ listener w: protocol_port",
         "+ listener w: default_pool", "+ listener w: allowed_cidrs", "- listener web-80"],
    ),
    (
        "policies in another order", lambda d: listener(d)["l7policies"].reverse(),
        ["~ listener web-80: order"],
    ),
    (
        "another rule",
        lambda d: listener(d)["l7policies"][0].update(rules=[A_RULE | {"value": "/b"}]),
        ["+ listener web-80 / L7 policy one / rule PATH STARTS_WITH /b",
         "- listener web-80 / L7 policy one / rule PATH STARTS_WITH /a"],
    ),
    ("a weight", lambda d: pool(d)["members"][0].update(weight=5),
     ["~ pool app / member 10.0.0.1:80: weight"]),
    ("a member gone", lambda d: pool(d)["members"].pop(), ["- pool app / member 10.0.0.1:81 (m2)"]),
    ("members in another order", lambda d: pool(d)["members"].reverse(), []),
    ("no monitor", lambda d: pool(d).pop("healthmonitor"), ["- pool app / health monitor TCP"]),
    ("no default pool", lambda d: listener(d).pop("default_pool"),
     ["~ listener web-80: default_pool"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "lines"), [row[1:] for row in CHANGES], ids=[r[0] for r in CHANGES]
)
def test_what_differs_is_said_and_nothing_else(edit: Any, lines: list[str]) -> None:
    assert changed(edit) == lines


def test_what_cannot_be_changed_is_marked() -> None:
    wanted = FULL | {"vip_address": "203.0.113.8"}
    assert [one.fixed for one in compare(FULL, wanted)] == [True]


def test_a_new_load_balancer_is_all_additions() -> None:
    assert {one.sign for one in compare(None, FULL)} == {"+"}


TEXTS = st.sampled_from(["", "a", "yes", "1.0", "null", "ä: #", "- x", "'", "on\noff"])
MEMBERS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.uuids().map(str), "name": TEXTS, "address": st.ip_addresses().map(str),
            "protocol_port": st.integers(1, 65535), "weight": st.integers(0, 256),
            "backup": st.booleans(), "tags": st.lists(TEXTS, max_size=2),
        }
    ),
    max_size=3, unique_by=lambda m: (m["address"], m["protocol_port"]),
)  # fmt: skip
POOLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.uuids().map(str), "name": TEXTS, "protocol": st.just("HTTP"),
            "lb_algorithm": st.just("SOURCE_IP"), "members": MEMBERS, "description": TEXTS,
            "session_persistence": st.sampled_from(
                [None, {"type": "SOURCE_IP", "cookie_name": None}]
            ),
        }
    ),
    max_size=3,
)  # fmt: skip


@given(pools=POOLS, name=TEXTS.filter(bool))
def test_an_export_read_again_asks_for_the_same(
    pools: list[Document], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shown = {"id": "1", "name": name, "listeners": [], "pools": pools, "vip_address": "10.0.0.9"}
    for place, one in enumerate(pools):
        shown["listeners"].append(  # type: ignore[attr-defined]
            {"id": str(place), "protocol": "HTTP", "protocol_port": place + 1,
             "default_pool_id": one["id"]}
        )  # fmt: skip
    document = exported(shown)
    file = tmp_path_factory.getbasetemp() / "exported.yaml"
    file.write_text(written([document]))
    [found] = read_documents(file)
    assert compare(read_document(document), read_document(found)) == []
    assert found == document == exported(shown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:\n  - [", "line 2"),
        ("a: 1\na: 2", "'a' stands there twice"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: \x00", "is not YAML"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(text)
    with pytest.raises(ColonnadeError, match=says):
        read_documents(file)


def test_a_file_may_have_many_documents_and_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "both"
    file.write_text('{"a": 1}\n---\nb: 2\n---\n')
    assert read_documents(file) == [{"a": 1}, {"b": 2}]
    with pytest.raises(ColonnadeError, match="does not exist"):
        read_documents(tmp_path / "nix")


def test_the_example_of_the_manual_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    [found] = yaml.safe_load_all(example)
    assert [pool["name"] for pool in read_document(found)["pools"]] == ["app", "files"]


def test_each_example_is_what_the_api_takes() -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    assert len(examples) > 1
    for file in examples:
        for found in read_documents(file):
            document = read_document(found, where=file.name)
            document["vip_subnet_id"] = new_id()  # which the endpoint has under its name
            del document["vip_subnet"]
            kind = bodies.create(shape.LOAD_BALANCERS)
            body = read_body(json.dumps({"b": document}).encode(), kind, "b")
            assert body.each("listeners")


BODIES = [
    ("lb", LB, shape.LOAD_BALANCERS),
    ("listener", LISTENER, shape.LISTENERS),
    ("policy", POLICY, shape.L7POLICIES),
    ("rule", RULE, shape.L7RULES),
    ("pool", POOL, shape.POOLS),
    ("member", MEMBER, shape.MEMBERS),
    ("hm", MONITOR, shape.HEALTH_MONITORS),
]
# Of the create's words: an old one, and those that a document has another word for.
OTHERWISE = {"tenant_id", "project_id", "default_pool_id", "redirect_pool_id", "position"}
ONLY_IN_FILES = {"name", "default_pool", "redirect_pool", "tenant_id"}


@pytest.mark.parametrize(("word", "kind", "of"), BODIES)
def test_files_and_options_have_every_attribute_of_the_api(
    word: str, kind: str, of: shape.Noun
) -> None:
    create, update = bodies.nested(of), bodies.change(of)
    document = {*FIELDS[kind], *CHILDREN[kind]}
    assert set(create.__struct_fields__) - OTHERWISE <= document
    noun = NOUNS[word]
    options = {one.name for one in noun.attributes}
    below = {*CHILDREN[kind], *ONLY_IN_FILES}
    made = options | ({"project_id"} if word != "lb" else set())
    assert set(create.__struct_fields__) - below <= made
    changeable = {one.name for one in noun.attributes if not one.fixed}
    assert changeable == set(update.__struct_fields__) - ONLY_IN_FILES
