# SPDX-License-Identifier: Apache-2.0
"""Secrets from files. What is in them goes to the endpoint and nowhere else: neither into a
message nor onto the screen, and a passphrase is in no command line.
"""

import sys
from base64 import b64encode
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import Invalid, NotFound

FILE_BYTES_MAX = 1 << 20
PEM = b"-----BEGIN "


class SecretType(StrEnum):
    CERTIFICATE = "CERTIFICATE"
    CA = "CA"
    CRL = "CRL"


Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]
NamesOfIds = Annotated[
    str,
    typer.Argument(
        metavar="NAME|ID", autocompletion=names_of("secret"), help="The secret.",
        show_default=False,
    ),
]  # fmt: skip
_HELP = "PEM files (certificate, key, chain), or one PKCS12 file; - is standard input."
Files = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILE]...", help=_HELP, show_default=False)
]
HostNames = Annotated[
    list[str] | None,
    typer.Option(
        "--acme", metavar="NAME",
        help="A host name: the system gets its certificate from the operator's issuer (ACME) and "
        "renews it. Repeat.",
    ),
]  # fmt: skip
Type = Annotated[SecretType, typer.Option("--type", case_sensitive=False, help="What it is.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase of the key.")
]
Rename = Annotated[str | None, typer.Option("--name", help="A new name.")]


async def secret_create(
    session: Session,
    name: Name,
    files: Files = None,
    *,
    host_names: HostNames = None,
    kind: Type = SecretType.CERTIFICATE,
    passphrase_file: Passphrase = None,
) -> None:
    """Upload a certificate with its key, CAs, or CRLs; or have a certificate ordered."""
    content = _content(files, host_names, passphrase_file)
    if not content:
        raise Invalid("give files, or --acme NAME for a certificate that the system orders")
    said = {"name": name, "type": kind.value} | content
    session.printer.one(await session.rest.post("lbaas/secrets", {"secret": said}))


async def secret_set(
    session: Session,
    secret: NamesOfIds,
    files: Files = None,
    *,
    host_names: HostNames = None,
    passphrase_file: Passphrase = None,
    rename: Rename = None,
) -> None:
    """Replace a secret's content, for all that use it, or its name."""
    said = _content(files, host_names, passphrase_file)
    if rename is not None:
        said["name"] = rename
    if not said:
        raise Invalid("say what to change: files, --acme, or --name")
    secret_id = await session.id("secret", secret)
    answer = await session.rest.put(f"lbaas/secrets/{secret_id}", {"secret": said})
    session.printer.one(answer["secret"])


def _content(
    files: list[Path] | None, host_names: list[str] | None, passphrase_file: Path | None
) -> dict[str, Any]:
    if host_names and files:
        raise Invalid("give files or --acme, not both")
    if host_names:
        return {"host_names": host_names}
    return dict(read_content(files, passphrase_file)) if files else {}


def read_content(files: list[Path], passphrase_file: Path | None) -> dict[str, str]:
    """The files as the API takes them: PEM as text, one after another, or PKCS12 in base64."""
    found = [_read(file) for file in files]
    if all(PEM in one for one in found):
        try:
            said = {"pem": "\n".join(one.decode().strip() for one in found) + "\n"}
        except UnicodeDecodeError:
            raise Invalid("a PEM file is text, and one of these files is not") from None
    elif len(found) == 1:
        said = {"pkcs12": b64encode(found[0]).decode()}
    else:
        raise Invalid("give PEM files only, or one PKCS12 file")
    if passphrase_file is not None:
        try:
            said["passphrase"] = _read(passphrase_file).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Invalid("the passphrase is not text") from None
    return said


def _read(file: Path) -> bytes:
    try:
        if str(file) == "-":
            return _limited(file, sys.stdin.buffer.read(FILE_BYTES_MAX + 1))
        with file.open("rb") as opened:
            return _limited(file, opened.read(FILE_BYTES_MAX + 1))
    except FileNotFoundError as error:
        raise NotFound(f"the file {file} does not exist") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error


def _limited(file: Path, found: bytes) -> bytes:
    if len(found) > FILE_BYTES_MAX:
        raise Invalid(f"{file} is larger than {FILE_BYTES_MAX >> 20} MiB")
    if not found:
        raise Invalid(f"{file} is empty")
    return found
