# SPDX-License-Identifier: Apache-2.0
"""Secrets that users keep in Barbican: certificate containers, PKCS12 bundles, and PEM.

Invariant: calls go to the address that the cloud's catalog names, and nowhere else; of a URL that
users or Barbican name, only the id is used. Neither a token nor what a secret holds is in a
message, and the words of Barbican's own refusals are not passed on.

A container has the secrets `certificate`, `private_key`, and perhaps `intermediates` and
`private_key_passphrase`. One of the type generic may, for its owner can exchange what is in it.
"""

import asyncio
import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from yarl import URL

from colonnade.domain.errors import Broken, Invalid, NotFound, Unavailable
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.session import Answer, Session
from colonnade.drivers.secrets.key_manager import Consumer, KeyManager
from colonnade.drivers.secrets.material import PEM_CHARACTERS_MAX, Upload
from colonnade.drivers.secrets.protocol import Source, source_of
from colonnade.runtime.config import Config

TYPE: Final = "key-manager"
WORD: Final = "barbican"
INTERFACES: Final = ("public", "internal", "admin")
SERVICE: Final = "Octavia"  # what clients know this service as
CONTAINERS: Final = "containers/"
NEEDED: Final = ("certificate", "private_key")
PARTS: Final = (*NEEDED, "intermediates", "private_key_passphrase")
TYPES: Final = frozenset({"certificate", "generic"})
_REFUSED: Final = frozenset({401, 403, 404, 410})
# Consumers of secrets came with it; an older Barbican knows those of containers alone.
_VERSIONED: Final = {"OpenStack-API-Version": "key-manager 1.1"}
_BINARY: Final = "application/octet-stream"
_BEGIN: Final = b"-----BEGIN "


class _Secret(msgspec.Struct, frozen=True):
    content_types: Mapping[str, str] | None = None


class _Part(msgspec.Struct, frozen=True):
    secret_ref: str
    name: str = ""


class _Container(msgspec.Struct, frozen=True):
    type: str
    secret_refs: list[_Part] = []


class _Read(msgspec.Struct, frozen=True, rename={"project_access": "project-access"}):
    users: list[str] = []
    project_access: bool = True


class _Acl(msgspec.Struct, frozen=True):
    read: _Read = _Read()


class Barbican:
    """A `KeyManager`. `interface`: which address of the catalog is asked."""

    def __init__(self, session: Session, *, interface: str = "public") -> None:
        self._session = session
        self._interface = interface

    async def close(self) -> None:
        await self._session.close()

    async def owns(self, source: Source) -> bool:
        roots = []
        for interface in INTERFACES:
            with contextlib.suppress(Broken):  # a catalog need not have all three
                roots.append(await self._session.endpoint(TYPE, interface=interface))
        return _root(source.root) in {_root(one) for one in roots}

    async def read(self, place: str, token: str = "") -> Upload:
        if not place.startswith(CONTAINERS):
            return _upload(await self._payload(place, token))
        container = (await self._get(place, token)).read(_Container)
        parts = _parts(container)
        found = await asyncio.gather(*(self._payload(one, token) for one in parts.values()))
        return _joined(dict(zip(parts, found, strict=True)))

    async def lend(self, place: str, token: str) -> None:
        places = [place]
        if place.startswith(CONTAINERS):
            container = (await self._get(place, token)).read(_Container)
            places += _parts(container).values()
        user = await self._session.user()
        await asyncio.gather(*(self._lend(one, token, user) for one in places))

    async def register(self, place: str, consumer: Consumer) -> None:
        # Who is registered already is answered with success.
        await self._consumers("POST", place, consumer)

    async def deregister(self, place: str, consumer: Consumer) -> None:
        with contextlib.suppress(NotFound):
            await self._consumers("DELETE", place, consumer)

    async def _consumers(self, method: str, place: str, consumer: Consumer) -> None:
        body = {"name": SERVICE, "URL": f"octavia://{consumer.kind}/{consumer.id}"}
        if not place.startswith(CONTAINERS):
            body = {
                "service": SERVICE, "resource_type": consumer.kind, "resource_id": consumer.id,
            }  # fmt: skip
        url = await self._url(f"{place}/consumers")
        _checked(await self._session.ask(method, url, body=body, headers=_VERSIONED), place)

    async def _lend(self, place: str, token: str, user: str) -> None:
        url = f"{await self._url(place)}/acl"
        answer = await self._session.ask_as(token, "GET", url)
        if answer.status in _REFUSED:
            return  # whoever may only read it cannot say who else may
        acl = _checked(answer, place).read(_Acl).read
        if user in acl.users:
            return
        wish = {"users": [*acl.users, user], "project-access": acl.project_access}
        answer = await self._session.ask_as(token, "PUT", url, body={"read": wish})
        if answer.status not in _REFUSED:
            _checked(answer, place)

    async def _payload(self, place: str, token: str) -> bytes:
        """As it was stored: Barbican wants to be asked for the type that it has."""
        types = (await self._get(place, token)).read(_Secret).content_types or {}
        kind = types.get("default", _BINARY)
        body = (await self._get(f"{place}/payload", token, Accept=kind)).body
        if len(body) > PEM_CHARACTERS_MAX:
            raise Invalid(f"The secret is larger than {PEM_CHARACTERS_MAX >> 20} MiB.")
        return body

    async def _get(self, place: str, token: str, **headers: str) -> Answer:
        url = await self._url(place)
        answer = (
            await self._session.ask_as(token, "GET", url, headers=headers)
            if token
            else await self._session.ask("GET", url, headers=headers)
        )
        return _checked(answer, place)

    async def _url(self, place: str) -> str:
        root = await self._session.endpoint(TYPE, interface=self._interface)
        return f"{root.removesuffix('/v1')}/v1/{place}"


def _checked(answer: Answer, place: str) -> Answer:
    if answer.status in _REFUSED:
        raise NotFound(f"Barbican does not give {place} ({answer.status})")
    if answer.status >= 300:
        raise Unavailable(f"Barbican answered {answer.status}", detail=place)
    return answer


def _root(url: str) -> tuple[str, str, int | None, str] | None:
    try:
        parts = URL(url)
        path = parts.path.rstrip("/").removesuffix("/v1")
        return parts.scheme, (parts.host or "").lower(), parts.port, path
    except ValueError:
        return None


def _parts(container: _Container) -> dict[str, str]:
    """The place of each secret that counts, by its name."""
    if container.type not in TYPES:
        raise Invalid("The container is of a type that holds no certificate.")
    found = {}
    for one in container.secret_refs:
        source = source_of(one.secret_ref)
        if one.name in PARTS and source is not None:
            found[one.name] = source.place
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise Invalid(f"The container has no {' and no '.join(missing)}.")
    return found


def _upload(payload: bytes) -> Upload:
    """A secret alone is PEM, or a PKCS12 bundle: as bytes, or in base64."""
    if _BEGIN in payload:
        return Upload(pem=_text(payload))
    packed = payload.isascii() and not set(payload) - set(_BASE64)
    return Upload(pkcs12=(payload if packed else base64.b64encode(payload)).decode())


def _joined(parts: Mapping[str, bytes]) -> Upload:
    chain = [parts["certificate"], *_certificates(parts.get("intermediates", b""))]
    phrase = parts.get("private_key_passphrase")
    return Upload(
        pem="\n".join(_text(one) for one in (*chain, parts["private_key"])),
        passphrase=_text(phrase) if phrase else None,
    )


def _certificates(content: bytes) -> Sequence[bytes]:
    """PEM certificates, of a PKCS7 bundle too."""
    if not content or b"-----BEGIN CERTIFICATE" in content:
        return [content] if content else []
    try:
        read: Any = pkcs7.load_der_pkcs7_certificates
        if _BEGIN in content:
            read = pkcs7.load_pem_pkcs7_certificates
        return [one.public_bytes(Encoding.PEM) for one in read(content)]
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("The intermediates of the container cannot be read.") from None


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        # Raised without its cause, which would quote the secret.
        raise Invalid("A secret of the container is neither PEM nor text.") from None


_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"


def key_manager_of(config: Config) -> KeyManager | None:
    """That of the configuration; None: secrets are in our own store alone. Raises Broken with what
    is missing. Whose rights a reference has only a user's token tells."""
    if config.secrets_driver != WORD:
        return None
    if config.api.auth != "keystone":
        raise Broken('secrets "barbican" need auth "keystone": Barbican asks for a user\'s token')
    settings = config.barbican
    session = Session(
        of_service(config.keystone),
        ca_file=settings.ca_file or config.keystone.ca_file,
        timeout_s=settings.timeout_s,
    )
    return Barbican(session, interface=settings.interface)
