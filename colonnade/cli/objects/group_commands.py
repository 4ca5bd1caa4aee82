# SPDX-License-Identifier: Apache-2.0
"""Which commands a group has: the verbs of its noun, and what only this noun can do."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from colonnade.cli.nouns.description import Noun
from colonnade.cli.nouns.index import NOUNS
from colonnade.cli.objects.commands import command
from colonnade.cli.objects.lazy_groups import Maker, as_click, group, of_app
from colonnade.cli.objects.verbs import verb

# Modules with one async function for each word.
ONLY: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "lb": (
        ("tree", "tree_drawing"), ("status", "tree_drawing"), ("stats", "counters"),
        ("failover", "operations"),
        ("history", "history"), ("rollback", "history"), ("events", "history"),
    ),
    "listener": (("stats", "counters"),),
    "member": (("replace", "batches"),),
    "secret": (("create", "secrets"), ("set", "secrets")),
    "provider": (("capabilities", "operations"),),
    "quota": (("show", "quotas"), ("set", "quotas"), ("reset", "quotas"), ("defaults", "quotas")),
    "amphora": (("stats", "counters"), ("failover", "operations"), ("configure", "operations")),
    "admin": (
        ("fleet", "fleet_commands"), ("lift", "fleet_commands"), ("reflavor", "reflavor_commands"),
    ),
    "upgrade": tuple(
        (word, "upgrade_commands")
        for word in ("start", "status", "list", "pause", "resume", "undo")
    ),
    "event": (("list", "history"),),
    "webhook": (("test", "webhooks"),),
}  # fmt: skip


# Groups within a group.
WITHIN: Final[Mapping[str, Mapping[str, str]]] = {
    "l7": {"policy": "L7 policies of a listener.", "rule": "Rules of an L7 policy."},
    "admin": {"upgrade": "Replace outdated amphorae, one after the other."},
}
# The same, of commands that speak to another service than the API: module, and the name in it.
ELSEWHERE: Final[Mapping[str, Mapping[str, tuple[str, str, str]]]] = {
    "admin": {
        "openstack": (
            "Colonnade as a service of an OpenStack cloud.",
            "colonnade.cli.cloud.openstack",
            "openstack",
        )
    },
}


def makers(name: str) -> dict[str, Maker]:
    made: dict[str, Maker] = {
        word: partial(group, word, help, partial(makers, word))
        for word, help in WITHIN.get(name, {}).items()
    }
    for word, (help, module, app) in ELSEWHERE.get(name, {}).items():
        made[word] = partial(group, word, help, partial(of_app, module, app))
    noun = NOUNS.get(name)
    if noun is not None:
        made |= {word: partial(_verb, noun, word) for word in noun.verbs}
    for word, module in ONLY.get(name, ()):
        made[word] = partial(_only, name, word, module)
    return made


def _verb(noun: Noun, word: str) -> Any:
    return as_click(word, verb(noun, word))


def _only(name: str, word: str, module: str) -> Any:
    act = getattr(import_module(f"colonnade.cli.objects.{module}"), f"{name}_{word}")
    return as_click(word, command(act))
