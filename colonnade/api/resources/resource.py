# SPDX-License-Identifier: Apache-2.0
"""The five routes of a noun, from one declaration: list, create, show, update, delete.

Methods, paths, rules and statuses are the wire contract's, and the same for all nouns. Routes that
a noun has besides stand beside its call of `resource`. This module knows no noun.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import msgspec

from colonnade.api.http.call import Handler, Route
from colonnade.api.identity.policy import PREFIX
from colonnade.api.resources.objects import listed, object_of, wrapped
from colonnade.domain.flat import Verb
from colonnade.domain.shape import Noun

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
ROOT: Final = "/v2/lbaas/"


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What a noun is called on the wire. `steps` and `place`: its path after the root, and the
    name of what its last step holds; `rule`: its part of policy rules; `object`: what is shown."""

    steps: str
    place: str
    one: str  # the key of an object in bodies and answers
    many: str  # the key of a list
    links: str = ""  # the key of a list's links, where it is not the contract's usual one
    rule: str
    object: Any

    @property
    def path(self) -> str:
        return ROOT + self.steps

    @property
    def object_path(self) -> str:
        return f"{self.path}/{{{self.place}:str}}"


@cache
def wire(noun: Noun) -> Wire:
    """Of a noun of the tree, by its place in that."""
    steps = noun.many
    if noun.nested and noun.above is not None:
        steps = f"{noun.above.many}/{{{noun.above.place}:str}}/{noun.many}"
    return Wire(
        steps=steps,
        place=noun.place,
        one=noun.wrapper,
        many=noun.many,
        rule=noun.kind,
        object=object_of(noun),
    )


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One of the five as a noun has it."""

    handler: Handler
    summary: str
    takes: Any = None
    example: Mapping[str, Any] | None = None  # of what it takes
    answers: Any = None  # an object, where it is another than the noun's usual one
    query: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()  # attributes whose use has a rule of its own
    success: int = 0  # where it is not the usual one
    operation: str = ""  # in the OpenAPI document, where it is not the handler's name


def act(verb: Verb, handler: Handler, operation: str, **more: Any) -> Act:
    return Act(
        handler=handler, summary=verb.summary, example=verb.example, operation=operation, **more
    )


class _Shape(msgspec.Struct, frozen=True):
    method: Method
    of_object: bool  # or of the list
    action: str  # the last part of its policy rule
    success: int


_SHAPES: Final[Mapping[str, _Shape]] = {
    "list": _Shape("GET", False, "get_all", 200),
    "create": _Shape("POST", False, "post", 201),
    "show": _Shape("GET", True, "get_one", 200),
    "update": _Shape("PUT", True, "put", 200),
    "delete": _Shape("DELETE", True, "delete", 204),
}


def resource(wire: Wire, **acts: Act) -> list[Route]:
    """The routes of the acts: any of `list`, `create`, `show`, `update` and `delete`."""
    return [_route(wire, name, _SHAPES[name], act) for name, act in acts.items()]


def _route(wire: Wire, name: str, shape: _Shape, act: Act) -> Route:
    answers: Any = None
    if name == "list":
        answers = listed(wire.many, wire.object, wire.links)
    elif name != "delete":
        answers = wrapped(wire.one, act.answers or wire.object)
    return Route(
        method=shape.method,
        path=wire.object_path if shape.of_object else wire.path,
        handler=act.handler,
        operation=act.operation,
        success=act.success or shape.success,
        summary=act.summary,
        takes=act.takes,
        wrapper=wire.one if act.takes is not None else "",
        query=act.query,
        rule=f"{PREFIX}{wire.rule}:{shape.action}",
        guarded=act.guarded,
        answers=answers,
        example=act.example,
    )
