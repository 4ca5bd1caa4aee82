# SPDX-License-Identifier: Apache-2.0
"""Every feature against golden text; whatever a user writes, haproxy reads our directives only.

To take a change of a template over into the golden texts: `GOLDEN=write pytest` on this file,
and read the difference before it is committed.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain.errors import Broken, Invalid
from colonnade.domain.pools import OutlierEjection
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import MonitorType
from colonnade.drivers.amphora.haproxy import regexes, words
from colonnade.drivers.amphora.haproxy.render import OUR_TEMPLATES, Templates, render
from colonnade.drivers.amphora.haproxy.sample import SAMPLE
from colonnade.protocol.bundle import LOCAL, Interface, Pair, plan_change
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.haproxy_extras import EXTRAS, regexes_of_users, ruled_trees
from tests.haproxy_trees import FEATURES as PLAIN
from tests.haproxy_trees import (
    TEMPLATES,
    cluster,
    listener,
    member,
    monitor,
    pool,
    served_trees,
    tree,
    web,
)

FEATURES = PLAIN | EXTRAS
GOLDEN = Path(__file__).parent / "golden"
HAPROXY = str(find_haproxy(""))
SECTIONS = ("global", "defaults", "frontend", "backend")


def complaints(text: str, folder: Path) -> str:
    """What `haproxy -c` says of the text, "" when it takes it."""
    file = folder / "haproxy.cfg"
    file.write_text(text)
    found = subprocess.run(
        [HAPROXY, "-c", "-f", str(file)], capture_output=True, text=True, check=False
    )
    return "" if found.returncode == 0 else found.stderr


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_its_golden_text(feature: str) -> None:
    text = render(FEATURES[feature], (), TEMPLATES).config
    head, mark, body = text.partition("# load balancer ")
    compare(f"{feature}.cfg", mark + body)
    assert head == render(FEATURES["http"], (), TEMPLATES).config.partition(mark)[0]


def test_the_head_of_the_file_is_its_golden_text() -> None:
    head = render(FEATURES["http"], (), TEMPLATES).config.partition("# load balancer ")[0]
    compare("head.cfg", head)


def test_halves_of_a_pair_share_their_stick_tables_and_listen_to_each_other_alone() -> None:
    one = Pair(own="203.0.113.5", peer="203.0.113.6", priority=250)
    other = Pair(own="203.0.113.6", peer="203.0.113.5", priority=240)
    wanted = FEATURES["sticky-source"]
    bundles = [render(wanted, (), TEMPLATES, pair) for pair in (one, other)]
    heads, bodies = zip(*(b.config.split("# load balancer ") for b in bundles), strict=True)
    compare("head-half.cfg", heads[0])
    alone = render(wanted, (), TEMPLATES)
    assert set(bodies) == {alone.config.split("# load balancer ")[1]}
    names = [{line for line in head.splitlines() if " peer " in line} for head in heads]
    assert names[0] == names[1]
    vrrp, tables = bundles[0].access
    assert (vrrp.protocol, vrrp.allowed) == ("vrrp", ("203.0.113.6",))
    assert (tables.port, tables.allowed) == (1025, ("203.0.113.5", "203.0.113.6"))
    assert (bundles[0].pair, bundles[0].needs) == (one, ("pair",))
    assert (alone.pair, alone.needs, alone.access) == (None, (), ())


def test_many_share_their_stick_tables_and_need_no_vrrp() -> None:
    front = Interface(
        mac="02:00:00:00:00:01",
        addresses=("203.0.113.5/24",),
        peers=("203.0.113.6", "203.0.113.7"),
    )
    vips = Interface(mac=LOCAL, addresses=("192.0.2.1/32",))
    found = render(FEATURES["sticky-source"], (front, vips), TEMPLATES)
    peers = [line.split()[2] for line in found.config.splitlines() if "    peer " in line]
    assert peers == ["203.0.113.5:1025", "203.0.113.6:1025", "203.0.113.7:1025"]
    (tables,) = found.access
    assert (tables.address, tables.port) == ("203.0.113.5", 1025)
    assert tables.allowed == ("203.0.113.5", "203.0.113.6", "203.0.113.7")
    assert (found.pair, found.needs) == (None, ("routed",))


def test_haproxy_takes_a_half_of_either_ip_version(tmp_path: Path) -> None:
    for own, peer in (("203.0.113.5", "203.0.113.6"), ("2001:db8:1::5", ""), ("192.0.2.1", "")):
        pair = Pair(own=own, peer=peer, priority=250)
        config = render(FEATURES["sticky-source"], (), TEMPLATES, pair).config
        assert complaints(config, tmp_path) == ""


def compare(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


def test_haproxy_takes_every_feature(tmp_path: Path) -> None:
    for feature, wanted in (FEATURES | {"sample": SAMPLE}).items():
        config = render(wanted, (), TEMPLATES).config
        assert complaints(config, tmp_path) == "", feature


def directives(text: str) -> set[str]:
    return {line.split()[0] for line in text.splitlines() if line.strip()}


OURS = {
    word
    for wanted in (*FEATURES.values(), SAMPLE)
    for word in directives(render(wanted, (), TEMPLATES).config)
}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(served_trees())
def test_no_text_of_a_user_adds_a_directive(tmp_path: Path, made: LoadBalancer) -> None:
    bundle = render(cluster(made), (), TEMPLATES)
    assert directives(bundle.config) <= OURS
    sections = [x for x in bundle.config.splitlines() if x.startswith(SECTIONS)]
    backends = {x.default_pool_id for x in made.listeners if x.default_pool_id}
    assert len(sections) == 2 + len(made.listeners) + len(backends)
    assert bundle.config.isascii()
    assert complaints(bundle.config, tmp_path) == ""


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ruled_trees())
def test_no_text_of_a_policy_adds_a_directive(tmp_path: Path, made: LoadBalancer) -> None:
    bundle = render(cluster(made), (), TEMPLATES)
    assert directives(bundle.config) <= OURS
    (front,) = made.listeners
    pools = {f"{before}{pool.id}" for pool in made.pools for before in ("", "panic:")}
    limits = {f"limit:{policy.id}" for policy in front.l7policies}
    sections = [line.split() for line in bundle.config.splitlines() if line.startswith(SECTIONS)]
    assert {name for _, *rest in sections for name in rest} <= {front.id, *pools, *limits}
    assert complaints(bundle.config, tmp_path) == ""


@settings(max_examples=20, deadline=None)
@given(st.lists(regexes_of_users, min_size=1, max_size=40))
def test_haproxy_takes_every_regular_expression_that_we_take(found: list[str]) -> None:
    taken = [text for text in found if is_taken(text)]
    lines = [f"    acl a path -m reg -- {words.quoted(text)}" for text in taken]
    with tempfile.TemporaryDirectory() as folder:
        config = "\n".join(["frontend f", "    mode http", *lines, ""])
        assert "regex" not in complaints(config, Path(folder))


def is_taken(text: str) -> bool:
    try:
        regexes.check(text)
        words.quoted(text)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "^/api/v[12]/", r"\.(jpe?g|png)$", "(?i)^/A", "(?P<a>b)(?P=a)", "a{2,3}?", "[]a-z]",
        r"\x41", "(?!x)a", "(?<=a)b", "[^/]+", "a{", "{}", r"^/\d+$", "(?:a|b)*+", "",
    ],
)  # fmt: skip
def test_common_regular_expressions_are_taken(text: str) -> None:
    regexes.check(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("(", "not a regular"),
        ("é", "ASCII"),
        (r"\u0041", r"\u"),
        (r"\Z", r"\Z"),
        ("(?a)b", "(?a"),
        ("(a)(?(1)b|c)", "(?(1"),
        ("[[:alpha:]]", "[:"),
        ("a{,3}", "{0,n}"),
        ("((a{99}){99}){99}", "too much"),
        ("a{70000}", "too much"),
        (r"(a)(?<=\1)", "behind"),
    ],
)
def test_other_regular_expressions_are_refused_with_a_reason(text: str, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        regexes.check(text)
    assert told in refused.value.public


def test_the_same_wish_is_the_same_bytes_in_any_order() -> None:
    wanted = FEATURES["two-load-balancers"]
    turned = replace(wanted, load_balancers=wanted.load_balancers[::-1])
    assert render(wanted, (), TEMPLATES) == render(turned, (), TEMPLATES)


def test_nothing_to_serve_is_an_empty_file() -> None:
    served = FEATURES["http"]
    (balancer,) = served.load_balancers
    for wanted in (
        cluster(),
        cluster(tree((), ())),
        cluster(replace(balancer, admin_state_up=False)),
        cluster(tree((listener(admin_state_up=False),), (pool(),))),
        replace(served, deleted=True),
    ):
        interface = Interface(mac="02:00:00:00:00:01", addresses=("203.0.113.9/24",))
        bundle = render(wanted, (interface,), TEMPLATES)
        assert not bundle.serves
        assert bundle.generation == 7
        assert bundle.interfaces == (interface,)


def test_a_change_of_members_is_no_reload_and_any_other_is_one() -> None:
    members = (member(1), member(2))
    before = render(web(members=members), (), TEMPLATES)
    for changed in (
        (*members, member(3)),
        members[:1],
        (member(1, weight=9), member(2)),
        (member(1, admin_state_up=False), member(2)),
        (member(1, backup=True), member(2)),
    ):
        change = plan_change(before, render(web(members=changed), (), TEMPLATES))
        assert change.touches_servers
        assert not change.reload
    monitored = web(members=members, health_monitor=monitor(MonitorType.TCP))
    slower = web(members=members, health_monitor=monitor(MonitorType.TCP, delay=9))
    assert plan_change(before, render(monitored, (), TEMPLATES)).reload
    assert plan_change(render(monitored, (), TEMPLATES), render(slower, (), TEMPLATES)).reload


def test_extras_of_pools_keep_changes_of_members_off_reloads() -> None:
    checked = {"health_monitor": monitor(MonitorType.TCP)}
    for more in (
        {"panic_threshold": 50, **checked},
        {"outlier_ejection": OutlierEjection(), **checked},
        {"slow_start": 30, "retries": 2, "http2": True, "drain_seconds": 60},
    ):
        before = render(web(members=(member(1),), **more), (), TEMPLATES)
        after = render(web(members=(member(1), member(2)), **more), (), TEMPLATES)
        change = plan_change(before, after)
        assert not change.reload
        assert {server.name for _, server in change.added} == {member(2).id}
        assert {backend for backend, _ in change.added} == {b.name for b in after.backends}
    plain, draining = web(), web(drain_seconds=60)
    change = plan_change(render(plain, (), TEMPLATES), render(draining, (), TEMPLATES))
    assert not change.reload


def test_the_file_has_the_very_servers_of_the_bundle() -> None:
    for wanted in FEATURES.values():
        bundle = render(wanted, (), TEMPLATES)
        lines = [x.split() for x in bundle.config.splitlines() if x.startswith("    server ")]
        servers = [server for backend in bundle.backends for server in backend.servers]
        assert len(lines) == len(servers)
        for line, server in zip(lines, servers, strict=True):
            assert line[1:5] == [server.name, server.address, "weight", str(server.weight)]
            assert ("disabled" in line) != server.enabled


def test_an_operators_template_is_looked_in_first(tmp_path: Path) -> None:
    ours = (OUR_TEMPLATES / "frontend.j2").read_text()
    (tmp_path / "frontend.j2").write_text(ours.replace("    mode ", "    # ours\n    mode ", 1))
    text = render(FEATURES["http"], (), Templates.load(tmp_path)).config
    assert "    # ours\n    mode http\n    bind" in text


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("frontend.j2", "{% macro frontend(view) %}{% if %}{% endmacro %}", "frontend.j2, line 1"),
        ("frontend.j2", "{% macro frontend(view) %}{{ view.nmae }}{% endmacro %}", "nmae"),
        ("backend.j2", "{% macro backend(view) %}{{ view.name }}{% endmacro %}", "servers"),
        ("server.j2", "", "options"),
        ("frontend.j2", "{% macro frontend(view) %}{{ view.name.upper() }}{% endmacro %}", "word"),
    ],
)
def test_a_broken_template_is_known_as_it_is_loaded(
    tmp_path: Path, file: str, text: str, told: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(Broken) as failure:
        Templates.load(tmp_path)
    assert told in failure.value.public


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "a\u2028b", "\x7f", "\x85"])
def test_what_cannot_be_printed_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        words.quoted(text)


def test_quotes_are_closed_only_by_us() -> None:
    assert words.quoted("a'b\"c\\d#e$f") == "'a'\\''b\"c\\d#e$f'"
    assert words.url_path("/é'\"\\ \\".replace(" ", "")) == "'/%C3%A9'\\''%22%5C%5C'"
    assert words.url_path("/?x=1#f") == "'/?x=1'"
    assert words.url_path("/#f") == "'/'"
    assert words.host("example.org.") == words.host("example.org") == "example.org"
