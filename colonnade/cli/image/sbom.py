# SPDX-License-Identifier: Apache-2.0
"""What is in an image, as a bill of materials: SPDX 2.3 in JSON.

Packages of the distribution are read from its own book, those of Python from their metadata: both
are in the image, so the bill says what is there and not what was asked for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import Any, Final
from urllib.parse import quote

import msgspec

DOCUMENT, IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-image"
UNKNOWN: Final = "NOASSERTION"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    url: str  # what package managers call it
    license: str = UNKNOWN
    source: str = ""


def of_debian(status: str, release: str) -> Iterator[Package]:
    """`status`: the text of /var/lib/dpkg/status."""
    for text in status.split("\n\n"):
        found = HeaderParser().parsestr(text)
        if not str(found["Status"]).endswith(" installed"):
            continue
        name, version, kind = found["Package"], found["Version"], found["Architecture"]
        url = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={kind}&distro={release}"
        source = f"source package {found['Source']}" if found["Source"] else ""
        yield Package(name=name, version=version, url=url, source=source)


def of_python(metadata: Iterable[str]) -> Iterator[Package]:
    """`metadata`: the texts of METADATA files."""
    for text in metadata:
        found = HeaderParser().parsestr(text)
        name, version = found["Name"], found["Version"]
        url = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
        license_ = found["License-Expression"] or UNKNOWN
        yield Package(name=name, version=version, url=url, license=license_)


def bill(name: str, digest: str, packages: Iterable[Package], moment: int) -> bytes:
    """Of an image with that SHA-256."""
    known = sorted(packages, key=lambda one: one.url)
    ids = [f"SPDXRef-{number}-{_id(one.name)}" for number, one in enumerate(known, 1)]
    contained = [_relation(IMAGE, "CONTAINS", one) for one in ids]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": name,
        "documentNamespace": f"urn:colonnade:image:{digest}",
        "creationInfo": {
            "created": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "creators": ["Tool: colonnade"],
        },
        "packages": [
            {
                **_package(IMAGE, Package(name=name, version=digest[:12], url="")),
                "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
            },
            *(_package(id_, one) for id_, one in zip(ids, known, strict=True)),
        ],
        "relationships": [_relation(DOCUMENT, "DESCRIBES", IMAGE), *contained],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _package(id_: str, one: Package) -> Mapping[str, Any]:
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": one.url,
    }
    return {
        "SPDXID": id_,
        "name": one.name,
        "versionInfo": one.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": False,
        "licenseDeclared": one.license,
        "licenseConcluded": UNKNOWN,
        "copyrightText": UNKNOWN,
        **({"sourceInfo": one.source} if one.source else {}),
        **({"externalRefs": [reference]} if one.url else {}),
    }


def _relation(whose: str, kind: str, to: str) -> Mapping[str, str]:
    return {"spdxElementId": whose, "relationshipType": kind, "relatedSpdxElement": to}


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)
