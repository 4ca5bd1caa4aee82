# SPDX-License-Identifier: Apache-2.0
"""The configuration's words for identity and policy, and what each of them means.

One more mode is one more row here and one more `Identity`; nothing else knows how many there are.
"""

from collections.abc import Callable, Mapping
from typing import Final

from colonnade.api.identity.caller import Identity
from colonnade.api.identity.keystone import KeystoneTokens
from colonnade.api.identity.policy import Policy
from colonnade.api.identity.policy_file import PolicyFile
from colonnade.api.identity.rules import DefaultPolicy
from colonnade.api.identity.tokens import Tokens
from colonnade.api.identity.trusting import Trusting
from colonnade.domain.errors import Broken
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import NO_AUTH, Api, Config, Keystone
from colonnade.store.postgres.database import Database

KEYSTONE: Final = "keystone"
_MODES: Final[Mapping[str, Callable[[Config, Database], Identity]]] = {
    NO_AUTH: lambda _, __: Trusting(),
    "token": lambda _, database: Tokens(database),
    KEYSTONE: lambda config, _: _keystone(config.keystone),
}


def check_mode(api: Api) -> None:
    """Raises Broken for a word that names no mode."""
    if api.auth not in _MODES:
        known = ", ".join(f"'{word}'" for word in _MODES)
        raise Broken(f"auth '{api.auth}' is not known; there are {known}")


def check_identity(config: Config) -> None:
    """Raises Broken where what the mode needs is not told."""
    check_mode(config.api)
    if config.api.auth == KEYSTONE:
        of_service(config.keystone)


def identity_of(config: Config, database: Database) -> Identity:
    check_mode(config.api)
    return _MODES[config.api.auth](config, database)


def _keystone(settings: Keystone) -> Identity:
    session = Session(of_service(settings), ca_file=settings.ca_file, timeout_s=settings.timeout_s)
    return KeystoneTokens(settings, session)


def policy_of(api: Api) -> Policy:
    """Raises Broken when the policy file cannot be used."""
    return PolicyFile(api.policy_file) if api.policy_file is not None else DefaultPolicy()
