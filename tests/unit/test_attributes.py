# SPDX-License-Identifier: Apache-2.0
"""The attributes of the nouns say all that is made from them, and values hold their limits."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import NODEFAULT, Meta
from msgspec.structs import replace

from colonnade.domain import shape
from colonnade.domain.attributes import Attribute, Described, described
from colonnade.domain.bounds import limits_of
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import MemberId, ProjectId
from colonnade.domain.node import Node
from colonnade.domain.vocabulary import L7Action, MonitorType, Observed
from colonnade.drivers.amphora.haproxy.sections import Plain
from tests.haproxy_extras import policy, rule
from tests.haproxy_trees import listener, member, monitor, pool, tree

INNER = {"id", "cluster_id"}  # of the machinery; what is a noun's own is an attribute
SAMPLES: dict[str, Node] = {
    "load_balancers": tree((), ()),
    "listeners": listener(100),
    "pools": pool(200),
    "members": member(1),
    "health_monitors": monitor(MonitorType.TCP),
    "l7policies": policy(300, L7Action.REJECT),
    "l7rules": rule(400, "/a"),
}


class Part(msgspec.Struct, frozen=True):
    street: Annotated[str, Attribute("Where.")]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    many: Annotated[tuple[Annotated[str, Meta(max_length=3)], ...], Attribute("Some.")] = ()
    few: Annotated[Annotated[int, Meta(ge=1, le=2)] | None, Attribute(fixed=True)] = None
    word: Annotated[Observed, Attribute(option="--of")]
    of: Annotated[MemberId | None, Attribute(refers="member")] = None
    owner: Annotated[ProjectId, Attribute()] = ProjectId("p")
    home: Annotated[Part | None, Attribute()] = None
    flat: Annotated[Part, Attribute(prefix="at_")] = Part(street="s")
    inner: int = 0


def test_an_attribute_is_what_its_line_says() -> None:
    found = described(Sample)
    assert [*found] == ["many", "few", "word", "of", "owner", "home", "at_street"]
    assert (found["many"].is_list, found["many"].item, found["many"].default) == (True, str, ())
    assert (found["few"].is_nullable, found["few"].item, found["few"].default) == (True, int, None)
    assert found["word"].choices == ("CONNECTIONS", "RESPONSES")
    assert found["word"].default is NODEFAULT and found["word"].required
    assert found["of"].is_id and not found["owner"].is_id
    assert found["home"].has_parts and not found["many"].has_parts
    assert (found["at_street"].within, found["at_street"].field) == ("flat", "street")


def test_a_value_made_in_python_is_held_to_its_limits() -> None:
    check = limits_of(Sample)
    check(Sample(word=Observed.RESPONSES, many=("abc",), few=2))
    with pytest.raises(Invalid, match="few must be between 1 and 2"):
        check(Sample(word=Observed.RESPONSES, few=0))
    with pytest.raises(Invalid, match="many are at most 3 long"):
        check(Sample(word=Observed.RESPONSES, many=("a", "abcd")))


def beyond() -> Iterator[tuple[str, Described, Any]]:
    """Each attribute of each noun with a value that is just out of its limits."""
    for noun in shape.NOUNS:
        for one in described(noun.type).values():
            for limit in one.limits if not one.within else ():
                if limit.ge is not None:
                    yield noun.name, one, limit.ge - 1
                if limit.le is not None:
                    yield noun.name, one, limit.le + 1
                if limit.max_length is not None:
                    text = "x" * (int(limit.max_length) + 1)
                    yield noun.name, one, (text,) if one.is_list else text


@pytest.mark.parametrize(
    ("noun", "one", "value"),
    [pytest.param(*case, id=f"{case[0]}-{case[1].name}") for case in beyond()],
)
def test_no_value_of_a_noun_is_out_of_its_limits(noun: str, one: Described, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        replace(SAMPLES[noun], **{one.name: value})
    assert refused.value.field == one.name


@pytest.mark.parametrize("noun", shape.NOUNS, ids=lambda noun: noun.name)
def test_each_field_of_a_noun_is_an_attribute_or_below_it(noun: shape.Noun) -> None:
    attributes = {one.within or name for name, one in described(noun.type).items()}
    named = {"name"} if "name" not in attributes else set()  # rules have none on the wire
    fields = set(noun.type.__struct_fields__)
    assert fields - attributes - named - INNER == {child.field for child in noun.below}


def test_templates_see_numbers_flags_and_fixed_words_alone() -> None:
    own = Plain(member(1, weight=3, backup=True))
    assert (own.weight, own.backup, own.monitor_port) == (3, True, None)
    with pytest.raises(AttributeError, match="address is a text"):
        _ = own.address
    with pytest.raises(AttributeError):
        _ = own.wieght
