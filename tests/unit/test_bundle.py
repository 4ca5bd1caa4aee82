# SPDX-License-Identifier: Apache-2.0
"""The plan of a change: carried out on paper it gives what was wanted, and never too much."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from colonnade.protocol.bundle import (
    Access,
    Backend,
    Bundle,
    Change,
    Interface,
    Secret,
    Server,
    plan_change,
)

servers = st.builds(
    Server,
    name=st.sampled_from("abcd"),
    address=st.sampled_from(["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80"]),
    weight=st.integers(0, 2),
    enabled=st.booleans(),
    options=st.sampled_from(["", "check inter 1s"]),
)
backends = st.lists(
    st.builds(
        Backend,
        name=st.sampled_from("xyz"),
        servers=st.lists(servers, unique_by=lambda s: s.name, max_size=4).map(tuple),
    ),
    unique_by=lambda b: b.name,
    max_size=3,
).map(tuple)


secrets = st.dictionaries(
    st.sampled_from("pq"), st.builds(Secret, st.sampled_from(["PEM 1", "PEM 2"]), st.booleans())
)


def bundle(
    generation: int,
    frame: str,
    some: tuple[Backend, ...],
    files: dict[str, str],
    outside: tuple[tuple[Interface, ...], tuple[Access, ...], dict[str, Secret]],
) -> Bundle:
    lines = [f"{b.name} {s}" for b in some for s in b.servers]
    return Bundle(
        generation=generation,
        config="\n".join([frame, *lines]),
        frame=frame,
        backends=some,
        files=files,
        interfaces=outside[0],
        access=outside[1],
        secrets=outside[2],
    )


bundles = st.builds(
    bundle,
    st.integers(0, 3),
    st.sampled_from(["frame", "other frame"]),
    backends,
    st.sampled_from([{}, {"a.pem": "1"}, {"a.pem": "2"}]),
    st.tuples(
        st.sampled_from([(), (Interface(mac="02:00:00:00:00:01", addresses=("10.0.0.7/24",)),)]),
        st.sampled_from([(), (Access(address="10.0.0.7", port=80, allowed=("10.0.0.0/8",)),)]),
        secrets,
    ),
)


def on_paper(present: Bundle, change: Change) -> dict[tuple[str, str], Server]:
    """The servers after the change, as haproxy would have them."""
    known = {(b.name, s.name): s for b in present.backends for s in b.servers}
    for backend, server in change.removed:
        assert known.pop((backend, server.name)) == server
    for backend, server in change.added:
        assert (backend, server.name) not in known
        known[backend, server.name] = server
    for backend, server in change.reweighted:
        old = known[backend, server.name]
        assert (old.address, old.options) == (server.address, server.options)
        known[backend, server.name] = server
    return known


@given(bundles, bundles)
def test_the_plan_leads_to_what_is_wanted(present: Bundle, wanted: Bundle) -> None:
    change = plan_change(present, wanted)
    others = {
        name
        for name in present.secrets.keys() | wanted.secrets.keys()
        if present.secrets.get(name) != wanted.secrets.get(name)
    }
    stuck = [
        name
        for name in others
        if not all(name in b.secrets and b.secrets[name].in_place for b in (present, wanted))
    ]
    assert change.reload == (
        present.frame != wanted.frame or present.files != wanted.files or bool(stuck)
    )
    assert set(change.replaced) == (set() if change.reload else others)
    assert change.interfaces == (present.interfaces != wanted.interfaces)
    assert change.access == (present.access != wanted.access)
    if change.reload:
        assert not change.touches_servers
    else:
        after = {(b.name, s.name): s for b in wanted.backends for s in b.servers}
        assert on_paper(present, change) == after


@given(bundles, st.integers(0, 9))
def test_the_same_content_needs_nothing_whatever_the_generation(
    present: Bundle, generation: int
) -> None:
    same = msgspec.structs.replace(present, generation=generation)
    assert plan_change(present, same) == Change()
    assert same.digest == present.digest


@given(bundles)
def test_from_nothing_all_is_made(wanted: Bundle) -> None:
    assert plan_change(None, wanted) == Change(
        interfaces=True, access=bool(wanted.access), files=True, reload=True
    )


@given(bundles, bundles)
def test_the_digest_tells_content_apart(one: Bundle, other: Bundle) -> None:
    same = msgspec.structs.replace(one, generation=other.generation) == other
    assert (one.digest == other.digest) == same


@given(bundles)
def test_a_bundle_survives_the_wire_and_shows_no_file(sent: Bundle) -> None:
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Bundle) == sent
    shown = repr(sent) + repr(sent.secrets)
    assert "pem" not in repr(sent) and "PEM" not in shown


def test_what_is_as_always_is_not_said_and_what_is_new_is_ignored() -> None:
    plain = Bundle(generation=1, config="x", frame="y", backends=(Backend(name="b"),))
    assert msgspec.json.decode(msgspec.json.encode(plain)) == {
        "generation": 1,
        "config": "x",
        "frame": "y",
        "backends": [{"name": "b"}],
    }
    newer = msgspec.json.decode(msgspec.json.encode(plain))
    newer["backends"][0]["mirror"] = "other"
    assert msgspec.json.decode(msgspec.json.encode(newer), type=Bundle) == plain


def test_what_must_be_understood_is_named_and_else_the_bundle_is_refused() -> None:
    plain = Bundle(generation=1, config="x", frame="y")
    assert plain.unknown_needs == ()
    newer = msgspec.structs.replace(plain, needs=("udp", "mirrors"))
    assert newer.unknown_needs == ("mirrors", "udp")
