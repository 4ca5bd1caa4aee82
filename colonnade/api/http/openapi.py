# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, made from the table of routes: what each takes, answers and refuses.

Schemas come from the types of bodies and answers, so they say what the decoder does. Which
statuses an operation may answer follows from what it is: a test asks for each with bad input and
finds none that is not here. Nothing is served from here.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import msgspec

from colonnade.api.http.call import Route
from colonnade.api.identity.policy import PUBLIC

Schema = dict[str, Any]

_PLACE: Final = re.compile(r"\{(\w+):str\}")
_REF: Final = "#/components/schemas/{name}"
_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TRIED: Final[Schema] = {
    "type": "object",
    "required": ["dry_run"],
    "properties": {
        "dry_run": {
            "type": "object",
            "required": ["provider", "changes", "issues", "configuration"],
            "properties": {
                "provider": _TEXT,
                "changes": {"type": "array", "items": {"$ref": _REF.format(name="ChangeObject")}},
                "issues": {"type": "array", "items": _TEXT},
                "configuration": {"type": ["object", "null"]},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
# The words of every list (B.11); filters by attribute come on top of them.
_LIST_WORDS: Final[dict[str, Schema]] = {
    "project_id": _TEXT,
    "fields": _TEXT,
    "sort": {"type": "string", "example": "name:asc,created_at:desc"},
    "sort_key": _TEXT,
    "sort_dir": {"type": "string", "enum": ["asc", "desc"]},
    "limit": {"type": "integer"},
    "marker": _TEXT,
    "page_reverse": _FLAG,
}
# `wait` and `dry_run` are Colonnade's own, and optional: `docs/kinder.md`.
_ONE_WORDS: Final[dict[str, Schema]] = {"fields": _TEXT, "wait": _COUNT}
_WRITE_WORDS: Final[dict[str, Schema]] = {"wait": _COUNT, "dry_run": _FLAG}
_WORDS: Final[dict[str, Schema]] = {
    "cascade": _FLAG,
    "additive_only": _FLAG,
    "since": _TEXT,
    "limit": {"type": "integer"},
}
_HEADERS: Final[dict[str, Schema]] = {
    "X-Project-Id": {"type": "string", "maxLength": 36},
    "X-Auth-Token": _TEXT,
}
_ALWAYS: Final = (401, 403, 406, 408, 429, 500, 503)
_FAULT: Final = "Fault"
_REASONS: Final = {
    400: "Something in the request is wrong; the text says what and where.",
    401: "No token, or one that is not known.",
    403: "The caller may not do this, the object is another project's, or a quota is met.",
    404: "There is no such object.",
    405: "The path is known, but not with this method.",
    406: "Only application/json is answered.",
    408: "The body did not come in time.",
    409: "Something else is in the way: a duplicate, an object in use, or one being deleted.",
    413: "The body is too long.",
    422: "The Idempotency-Key was used before with another body.",
    429: "The project has made too many requests; Retry-After says when to come back.",
    500: "A bug, or a provider that failed; the operator finds it under the request id.",
    501: "The provider cannot serve this; the text says why.",
    503: "Not now: the database or the network service does not answer. Retry-After says when.",
}


def openapi(table: Sequence[Route]) -> Schema:
    types = [t for route in table for t in (route.takes, route.answers) if t is not None]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    for name in _trimmed(table):
        schemas[name].pop("required", None)  # `fields` leaves any of them out
    paths: dict[str, Schema] = {}
    for route in table:
        path = _PLACE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Colonnade",
            "version": version("colonnade"),
            "description": "The Octavia v2 API, and what Colonnade adds to it.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, _FAULT: _fault_schema()},
            "responses": {str(status): _refusal(status) for status in _REASONS},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _trimmed(table: Sequence[Route]) -> set[str]:
    """The objects of answers to GET that may have fewer attributes when asked so."""
    found: set[str] = set()
    for route in table:
        if route.method != "GET" or route.answers is None:
            continue
        for field in msgspec.structs.fields(route.answers):
            kind = next(iter(getattr(field.type, "__args__", ())), field.type)
            if "fields" in _query(route) and hasattr(kind, "__struct_fields__"):
                found.add(kind.__name__)
    return found - {"Link"}


def _operation(route: Route) -> Schema:
    found: Schema = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "security": [] if route.rule == PUBLIC else [{"token": []}, {"bearer": []}, {}],
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
    }
    if route.takes is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": _taken(route)}}
    return found


def _operation_id(route: Route) -> str:
    last = route.path.rpartition("/")[2].strip("{}").partition(":")[0]
    name = route.operation or route.handler.__name__.lstrip("_")
    return f"{name}_{last}" if last else name


def _tag(path: str) -> str:
    """The noun: what comes first in its tree."""
    steps = [step for step in path.split("/") if step and step not in ("v2", "lbaas", "octavia")]
    return steps[0] if steps else "versions"


def _parameters(route: Route) -> Iterator[Schema]:
    for name in _PLACE.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": _TEXT}
    for name, schema in _query(route).items():
        yield {"name": name, "in": "query", "schema": schema}
    if route.rule != PUBLIC:
        for name, schema in _HEADERS.items():
            yield {"name": name, "in": "header", "schema": schema}
    if route.method == "POST":
        yield {"name": "Idempotency-Key", "in": "header", "schema": _TEXT}


def _query(route: Route) -> dict[str, Schema]:
    words = {name: _WORDS.get(name, _TEXT) for name in route.query}
    if route.rule == PUBLIC:
        return words
    if _is_list(route):
        return _LIST_WORDS | words
    if route.method == "GET":
        return _ONE_WORDS | words
    return _WRITE_WORDS | words


def _is_list(route: Route) -> bool:
    fields = getattr(route.answers, "__struct_fields__", ())
    return any(field.endswith("_links") for field in fields)


def _taken(route: Route) -> Schema:
    assert route.takes is not None, "asked for what it takes"
    schema: Schema = {"$ref": _REF.format(name=route.takes.__name__)}
    example = route.example
    if route.wrapper:
        schema = {
            "type": "object",
            "required": [route.wrapper],
            "properties": {route.wrapper: schema},
            "additionalProperties": False,
        }
        example = {route.wrapper: example} if example is not None else None
    return {"schema": schema} | ({"example": example} if example is not None else {})


def _responses(route: Route) -> Schema:
    success: Schema = {"description": route.summary or HTTPStatus(route.success).phrase}
    if route.answers is not None:
        schema: Schema = {"$ref": _REF.format(name=route.answers.__name__)}
        if route.method != "GET" and route.success == 200:
            schema = {"anyOf": [schema, _TRIED]}
        success["content"] = {route.media_type: {"schema": schema}}
    found = {str(route.success): success}
    if route.method != "GET" and route.success != 200 and route.rule != PUBLIC:
        content = {route.media_type: {"schema": _TRIED}}
        found["200"] = {"description": "With dry_run: what would change", "content": content}
    for status in sorted(_statuses(route)):
        found[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return found


def _statuses(route: Route) -> set[int]:
    """Which refusals there are, by what the operation is."""
    if route.rule == PUBLIC:
        return {500, 503}
    found = {400, *_ALWAYS}
    if "{" in route.path:
        found.add(404)
    if route.method != "GET":
        found |= {404, 409, 413, 501}
    if route.method == "POST":
        found.add(422)
    return found


def _refusal(status: int) -> Schema:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=_FAULT)}}}
    return {"description": _REASONS[status], "content": content}


def _fault_schema() -> Schema:
    """Two shapes more than the usual one: the framework's, and that of a missing token (B.2)."""
    return {
        "anyOf": [
            {
                "type": "object",
                "required": ["faultcode", "faultstring", "debuginfo"],
                "properties": {
                    "faultcode": {"type": "string", "enum": ["Client", "Server"]},
                    "faultstring": _TEXT,
                    "debuginfo": {"type": ["string", "null"]},
                },
                "additionalProperties": False,
            },
            {"type": "object", "required": ["message", "code", "title"]},
            {"type": "object", "required": ["error"]},
            {"type": "object", "required": ["errors"]},
        ]
    }
