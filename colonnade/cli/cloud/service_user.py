# SPDX-License-Identifier: Apache-2.0
"""Who Colonnade is in a cloud: a user of the project of services, with its roles and a password
that only a file of this machine has."""

import grp
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from colonnade.domain.errors import Broken, ColonnadeError, Refused
from colonnade.drivers.openstack.acts import Acts
from colonnade.drivers.openstack.credentials import Credentials, secret_in
from colonnade.drivers.openstack.keystone import listed, made, written
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.files import replace_file
from colonnade.runtime.host_ids import ACCOUNT

DOMAIN: Final = "Default"
ROLES: Final = ("admin", "service")


class ServiceUser(msgspec.Struct, frozen=True, kw_only=True):
    """Domains are the cloud's `Default`. `secret_file`: has the password, or will."""

    name: str
    project: str
    secret_file: Path
    region: str = ""

    def credentials(self, auth_url: str) -> Credentials:
        """Raises Broken while the file cannot be read, and for one that anybody may read."""
        domain = {"name": DOMAIN}
        return Credentials(
            auth_url=auth_url, secret=secret_in(self.secret_file), username=self.name,
            user_domain=domain, project=self.project, project_domain=domain, region=self.region,
        )  # fmt: skip


async def have_user(session: Session, user: ServiceUser, acts: Acts) -> None:
    """It may log in then, with its roles. Raises Forbidden, Refused, Broken, Unavailable."""
    (domain, *_) = [one.id for one in await listed(session, "domains", name=DOMAIN)] or ["default"]
    project = await _have(session, "project", user.project, {"domain_id": domain}, acts)
    known = await listed(session, "users", name=user.name, domain_id=domain)
    _check_secret(user, is_new=not known)
    if not user.secret_file.exists():
        await acts.create(f"the file {user.secret_file}", lambda: _write_secret(user.secret_file))
    about: dict[str, object] = {"domain_id": domain}
    if not known and not acts.pretend:
        about |= {"password": user.credentials("").secret, "default_project_id": project}
    user_id = await _have(session, "user", user.name, about, acts)
    for role in ROLES:
        await _have_role(session, role, project, user_id, acts)
    if known and not acts.pretend:
        await _check_login(session, user)


async def _have(
    session: Session, noun: str, name: str, about: dict[str, object], acts: Acts
) -> str:
    """The id; "" where it is only said."""
    domain = {"domain_id": str(about["domain_id"])} if about else {}
    known = await listed(session, f"{noun}s", name=name, **domain)
    if known:
        acts.there(f"the {noun} {name}")
        return known[0].id
    done = await acts.create(
        f"the {noun} {name}", lambda: made(session, noun, {"name": name, **about})
    )
    return done.id if done else ""


async def _have_role(session: Session, role: str, project: str, user: str, acts: Acts) -> None:
    words = f"its role {role} in the project"
    place = f"projects/{project}/users/{user}/roles"
    has = project and user and role in [one.name for one in await listed(session, place)]
    if has:
        acts.there(words)
        return
    known = await listed(session, "roles", name=role)
    role_id = known[0].id if known else await _have(session, "role", role, {}, acts)
    await acts.create(words, lambda: written(session, "PUT", f"{place}/{role_id}"))


def _check_secret(user: ServiceUser, *, is_new: bool) -> None:
    """Before anything is changed."""
    file = user.secret_file
    if not file.exists() and not is_new:
        raise Refused(
            f"there is a user {user.name} already, and no file {file} with its password: write it "
            f"there, name the right file with --secret-file, or another user with --user"
        )
    if file.exists() and not secret_in(file):
        raise Broken(f"{file} is empty: remove it, or write the password of {user.name} to it")


async def _check_login(session: Session, user: ServiceUser) -> None:
    own = Session(user.credentials(session.auth_url))
    try:
        await own.project()
    except ColonnadeError as error:
        raise Refused(
            f"the user {user.name} cannot log in with the password of {user.secret_file}: set it"
            f" (openstack user set --password-prompt {user.name}), and write it there",
            detail=error.public,
        ) from error
    finally:
        await own.close()


async def _write_secret(file: Path) -> None:
    """For root and, where Colonnade is installed, its processes."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, secrets.token_urlsafe(32) + "\n")
        if os.geteuid() == 0 and (group := _group()) is not None:
            os.chown(file, 0, group)
            file.chmod(0o640)
    except OSError as error:
        raise Broken(f"{file} cannot be written: {error.strerror}; see --secret-file") from error


def _group() -> int | None:
    try:
        return grp.getgrnam(ACCOUNT).gr_gid
    except KeyError:
        return None
