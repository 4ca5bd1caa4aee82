# SPDX-License-Identifier: Apache-2.0
"""Who somebody is at Keystone: a user in a project, or an application credential.

Read from this service's own configuration, or from what OpenStack's clients read: the variables
OS_*, and a cloud of clouds.yaml. A secret is in no message, and in no representation of a value.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from colonnade.domain.errors import Broken, NotFound
from colonnade.runtime.config import Keystone

SYSTEM: Final = "all"
_CLOUDS: Final = ("clouds.yaml", "~/.config/openstack/clouds.yaml", "/etc/openstack/clouds.yaml")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """`application_credential`: its id; then user and project follow from it. `system`: of the
    whole cloud, in the place of a project. Domains are named, or told by id, as Keystone has it."""

    auth_url: str
    secret: str
    username: str = ""
    user_domain: Mapping[str, str] = {}
    project: str = ""
    project_domain: Mapping[str, str] = {}
    application_credential: str = ""
    system: str = ""
    region: str = ""

    def __repr__(self) -> str:
        who = self.application_credential or self.username
        return f"Credentials({who!r} at {self.auth_url!r})"

    def wish(self) -> dict[str, Any]:
        """The body that asks Keystone for a token."""
        if self.application_credential:
            credential = {"id": self.application_credential, "secret": self.secret}
            identity = {
                "methods": ["application_credential"],
                "application_credential": credential,
            }
            return {"auth": {"identity": identity}}
        user = {"name": self.username, "domain": self.user_domain, "password": self.secret}
        scope: dict[str, Any] = {"system": {SYSTEM: True}}
        if not self.system:
            scope = {"project": {"name": self.project, "domain": self.project_domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": scope}}


def of_service(keystone: Keystone) -> Credentials:
    """This service's own. Raises Broken with what the configuration lacks."""
    if not keystone.auth_url:
        raise Broken('auth "keystone" needs auth_url in the table [keystone]')
    if not (keystone.username or keystone.application_credential):
        raise Broken("the table [keystone] needs username, or application_credential")
    return Credentials(
        auth_url=_of_version(keystone.auth_url),
        secret=_secret(keystone.secret_file),
        username=keystone.username,
        user_domain={"name": keystone.user_domain},
        project=keystone.project,
        project_domain={"name": keystone.project_domain},
        application_credential=keystone.application_credential,
        region=keystone.region,
    )


def of_operator(cloud: str, environment: Mapping[str, str] | None = None) -> Credentials:
    """Those of whoever types a command: the cloud of that name in clouds.yaml, else what OS_* say.

    Raises NotFound with what is missing, Broken for a file that cannot be read."""
    said = os.environ if environment is None else environment
    cloud = cloud or said.get("OS_CLOUD", "")
    words = _of_cloud(cloud, said) if cloud else _of_environment(said)
    secret = words.get("application_credential_secret") or words.get("password", "")
    if not (words.get("auth_url") and secret):
        place = f"the cloud '{cloud}'" if cloud else "OS_AUTH_URL and OS_PASSWORD"
        raise NotFound(f"nothing says where Keystone is, and who asks: see {place}, or --cloud")
    return Credentials(
        auth_url=_of_version(words["auth_url"]),
        secret=secret,
        username=words.get("username", ""),
        user_domain=_domain(words, "user"),
        project=words.get("project_name", ""),
        project_domain=_domain(words, "project"),
        application_credential=words.get("application_credential_id", ""),
        system=words.get("system_scope", ""),
        region=words.get("region_name", ""),
    )


def _of_environment(said: Mapping[str, str]) -> dict[str, str]:
    return {name[3:].lower(): text for name, text in said.items() if name.startswith("OS_")}


def _of_cloud(cloud: str, said: Mapping[str, str]) -> dict[str, str]:
    for file in _files(said):
        try:
            clouds = (yaml.safe_load(file.read_text()) or {}).get("clouds", {})
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise Broken(f"{file} cannot be read: {error}") from error
        if cloud in clouds:
            found = clouds[cloud]
            words = {**found.get("auth", {}), "region_name": found.get("region_name", "")}
            return {name: str(value) for name, value in words.items() if value}
    raise NotFound(f"no clouds.yaml has a cloud '{cloud}': looked at {', '.join(_CLOUDS)}")


def _files(said: Mapping[str, str]) -> Iterator[Path]:
    named = said.get("OS_CLIENT_CONFIG_FILE")
    for place in (named, *_CLOUDS) if named else _CLOUDS:
        file = Path(place).expanduser()
        if file.is_file():
            yield file


def _domain(words: Mapping[str, str], of: str) -> dict[str, str]:
    if found := words.get(f"{of}_domain_id"):
        return {"id": found}
    return {"name": words.get(f"{of}_domain_name") or "Default"}


def _of_version(url: str) -> str:
    root = url.rstrip("/")
    return root if root.endswith("/v3") else f"{root}/v3"


def _secret(file: Path | None) -> str:
    if file is None:
        raise Broken("the table [keystone] needs secret_file: a file with this service's password")
    found = secret_in(file)
    if not found:
        raise Broken(f"{file} is empty: it must hold this service's password")
    return found


def secret_in(file: Path) -> str:
    """Without blanks around it; "" of an empty file. Raises Broken for a file that anybody may
    read, or that cannot be read."""
    try:
        if file.stat().st_mode & 0o007:
            raise Broken(f"{file} holds a secret, and anybody may read it: chmod 600 {file}")
        return file.read_text().strip()
    except OSError as error:
        raise Broken(f"{file} cannot be read: {error.strerror}") from error
