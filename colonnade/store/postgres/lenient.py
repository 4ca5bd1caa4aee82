# SPDX-License-Identifier: Apache-2.0
"""Values as they were stored, by this release or by another one.

What users send is read strictly; what is stored was checked when it was written. A newer release
may have stored attributes that this one does not know: they are left out. What it stored under
names that this one cannot read (another protocol, another type) is `Newer`: nothing is made of
it here, and it stays for those who can. Knows no table.
"""

from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from colonnade.domain.errors import Broken

T = TypeVar("T")


class Newer(Broken):
    """LenientDecoder by a newer release, and not to be read by this one."""


class LenientDecoder(Generic[T]):
    """Reads the JSON of one type."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(self, raw: str | bytes) -> T:
        """Raises Newer."""
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError:
            # Seldom: only while a newer release writes to the same database.
            found: T = lenient(msgspec.json.decode(raw), self._kind)
            return found


def lenient(value: Any, kind: Any) -> Any:
    """Plain values as the type, without what the type does not know. Raises Newer."""
    try:
        return msgspec.convert(_known(value, _info(kind)), kind)
    except msgspec.ValidationError as error:
        raise Newer(
            "this was stored by a newer release of Colonnade: upgrade this process",
            detail=str(error),
        ) from error


@cache
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _known(value: Any, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.UnionType):
        if value is None:
            return None
        return next(
            (_known(value, one) for one in kind.types if isinstance(one, inspect.StructType)), value
        )
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        return {name: _known(one, fields[name]) for name, one in value.items() if name in fields}
    items = getattr(kind, "item_type", None)
    if items is not None and isinstance(value, list):
        return [_known(one, items) for one in value]
    return value
