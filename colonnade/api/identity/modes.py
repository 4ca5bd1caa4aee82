# SPDX-License-Identifier: Apache-2.0
"""The configuration's words for identity and policy, and what each of them means.

One more mode is one more row here and one more `Identity`; nothing else knows how many there are.
"""

from collections.abc import Callable, Mapping
from typing import Final

from colonnade.api.identity.caller import Identity
from colonnade.api.identity.policy import Policy
from colonnade.api.identity.policy_file import PolicyFile
from colonnade.api.identity.rules import DefaultPolicy
from colonnade.api.identity.tokens import Tokens
from colonnade.api.identity.trusting import Trusting
from colonnade.domain.errors import Broken
from colonnade.runtime.config import NO_AUTH, Api
from colonnade.store.postgres.database import Database

_MODES: Final[Mapping[str, Callable[[Database], Identity]]] = {
    NO_AUTH: lambda _: Trusting(),
    "token": Tokens,
}


def check_mode(api: Api) -> None:
    """Raises Broken for a word that names no mode."""
    if api.auth not in _MODES:
        known = " and ".join(f"'{word}'" for word in _MODES)
        raise Broken(f"auth '{api.auth}' is not known; there are {known}")


def identity_of(api: Api, database: Database) -> Identity:
    check_mode(api)
    return _MODES[api.auth](database)


def policy_of(api: Api) -> Policy:
    """Raises Broken when the policy file cannot be used."""
    return PolicyFile(api.policy_file) if api.policy_file is not None else DefaultPolicy()
