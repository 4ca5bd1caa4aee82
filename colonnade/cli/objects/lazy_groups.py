# SPDX-License-Identifier: Apache-2.0
"""Groups whose commands are made when they are asked for.

There are more than a hundred commands, and a start needs one of them, or only their names: so a
name leads to a module, and the module is imported when that name is used.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cached_property, partial
from importlib import import_module
from typing import Any, Final, TypeAlias

import typer
from typer.core import TyperGroup
from typer.main import get_command

from colonnade.domain.flat_nouns import FLAT_NOUNS

Maker: TypeAlias = Callable[[], Any]

PANEL: Final = "Load balancing"
GROUPS: Final[Mapping[str, str]] = {
    "lb": "Load balancers, with their status, tree, history and failover.",
    "listener": "Listeners: where clients connect.",
    "pool": "Pools: where requests go.",
    "member": "Members of a pool.",
    "hm": "Health monitors of pools.",
    "l7": "Layer 7: policies of a listener, and their rules.",
    "secret": "Certificates with their keys, CAs and CRLs.",
    **{noun.word: noun.help for noun in FLAT_NOUNS},
    "provider": "Providers, and their capabilities.",
    "quota": "Quotas of projects.",
    "amphora": "Amphorae: the machines that serve (operators).",
    "admin": "The fleet as a whole, safe mode and upgrades (operators).",
    "event": "Events: what happened.",
    "subnet": "Subnets that VIPs and members can be on.",
}
# Groups that are written by hand: what stands beside the word, the module, the name in it.
ELSEWHERE: Final[Mapping[str, tuple[str, str, str]]] = {
    "master-key": (
        "The key that stored secrets are encrypted with.",
        "colonnade.cli.local.master_key",
        "master_key",
    ),
    "ca": (
        "The authority of the processes' own certificates.",
        "colonnade.cli.local.authority",
        "authority",
    ),
    "image": (
        "The image that amphorae of a cloud are made of.",
        "colonnade.cli.image.image",
        "image",
    ),
    "import": (
        "Load balancers of another service, taken over with their ids and VIPs (operators).",
        "colonnade.cli.octavia.import_commands",
        "imports",
    ),
    "lab": ("Test hosts and test networks.", "colonnade.cli.lab.lab", "lab"),
    "unit": ("What unit files start.", "colonnade.cli.installation.unit_commands", "unit"),
    "token": ("Tokens for the API's mode 'token'.", "colonnade.cli.local.token", "token"),
}
COMMANDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("apply", "diff", "export"), "colonnade.cli.apply.commands"),
    "serve": "colonnade.cli.apply.serving",
}


class OnDemand(MutableMapping[str, Any]):
    """A map whose values are made when they are first read. `makers` is called once, when the
    first name is looked up."""

    def __init__(self, made: Mapping[str, Any], makers: Callable[[], Mapping[str, Maker]]) -> None:
        self._made = dict(made)
        self._ask = makers

    @cached_property
    def _makers(self) -> Mapping[str, Maker]:
        return self._ask()

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __setitem__(self, name: str, made: Any) -> None:
        self._made[name] = made

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*(name for name in self._made if name not in self._makers), *self._makers])

    def __len__(self) -> int:
        return len(list(iter(self)))


class LazyGroup(TyperGroup):
    """A group that names its commands without making them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- typer's signature
        return list(self.commands)


class CommandGroup(LazyGroup):
    """The `colonnade` command itself: what typer was told, and the nouns of the API."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self.commands = OnDemand(self.commands, _top)


def _top() -> dict[str, Maker]:
    makers: dict[str, Maker] = {
        name: partial(group, name, help, partial(of_app, module, app), panel=None)
        for name, (help, module, app) in ELSEWHERE.items()
    }
    for name, help in GROUPS.items():
        makers[name] = partial(group, name, help, partial(_of_noun, name))
    for name, module in COMMANDS.items():
        makers[name] = partial(_command, name, module)
    return makers


def _of_noun(name: str) -> Mapping[str, Maker]:
    made: Mapping[str, Maker] = import_module("colonnade.cli.objects.group_commands").makers(name)
    return made


def of_app(module: str, app: str) -> Mapping[str, Maker]:
    """The commands of a typer application that a module has."""
    made: Any = get_command(getattr(import_module(module), app))
    return {name: partial(_itself, inner) for name, inner in made.commands.items()}


def _itself(made: Any) -> Any:
    return made


def _command(name: str, module: str) -> Any:
    return as_click(name, getattr(import_module(module), f"run_{name}"), PANEL)


def group(
    name: str,
    help: str,
    makers: Callable[[], Mapping[str, Maker]],
    panel: str | None = PANEL,
) -> LazyGroup:
    """A group of commands; what they are is asked for when one is wanted."""
    made = LazyGroup(
        name=name, help=help, no_args_is_help=True, rich_markup_mode="rich", rich_help_panel=panel
    )
    made.commands = OnDemand({}, makers)
    return made


def as_click(name: str, run: Callable[..., Any], panel: str | None = None) -> Any:
    """One typer function as the command that groups hold."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, rich_help_panel=panel)(run)
    return get_command(app)
