# SPDX-License-Identifier: Apache-2.0
"""Where a command stands: the endpoint it speaks to, as whom, and how it prints.

The endpoint is the one that is named, else that of the system whose state folder is named, else
that of the system whose state folder is here, else the API's default place on this machine.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from colonnade.cli.local import finding, folders
from colonnade.cli.objects.names import Names
from colonnade.cli.objects.printing import Printer
from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Invalid

if TYPE_CHECKING:  # help and completion of words need no HTTP client
    from colonnade.cli.rest import Rest

DEFAULT_URL = "http://127.0.0.1:9876"
COMPLETION_S_MAX = 1.5


# Words of the command line; an attribute of a noun may be called `url`, but not so.
WHERE: Final[Mapping[str, str]] = {
    "at_url": "url",
    "with_token": "token",
    "for_project": "project",
    "in_state": "state",
}


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What the options and the environment say about the endpoint."""

    url: str = ""
    token: str = ""
    project: str = ""
    state: Path | None = None

    @classmethod
    def read(cls, words: Mapping[str, Any]) -> "Where":
        said = {name: words.get(word) for word, name in WHERE.items()}
        return cls(**{name: value for name, value in said.items() if value})

    def endpoint(self) -> str:
        """Raises NotFound for a system that is named and does not run, Invalid for two names."""
        # `--state` has no variable of its own here, so it stands on the command line: it is above
        # a URL that the environment has.
        if self.url and self.state is not None and self.url != os.environ.get("COLONNADE_URL"):
            raise Invalid("--url and --state name two systems: give one of them")
        if self.url and self.state is None:
            return self.url
        if finding.is_named(self.state):
            return _of_the_system(finding.running(self.state)) or DEFAULT_URL
        return _of_the_system(folders.config_file(folders.state_dir())) or DEFAULT_URL

    def headers(self) -> dict[str, str]:
        named = {"X-Auth-Token": self.token, "X-Project-Id": self.project}
        return {name: value for name, value in named.items() if value}

    def rest(self, request_s_max: float = 60.0) -> "Rest":
        from colonnade.cli.rest import Rest

        return Rest(self.endpoint(), headers=self.headers(), request_s_max=request_s_max)


@dataclass(frozen=True, slots=True)
class Session:
    rest: "Rest"
    names: Names
    printer: Printer

    @property
    def as_json(self) -> bool:
        return self.printer.as_json

    async def id(self, word: str, text: str, parent: str = "") -> str:
        return await self.names.id(word, text, parent)

    async def object(self, word: str, text: str, parent: str = "") -> dict[str, Any]:
        """One object, whole, by name or id."""
        noun = self.names.noun(word)
        object_id = await self.id(word, text, parent)
        answer = await self.rest.get(f"{noun.place(parent)}/{object_id}")
        shown: dict[str, Any] = answer[noun.one]
        return shown


def _of_the_system(file: Path) -> str:
    """The address in a system's own configuration; empty when there is none to read."""
    try:
        with file.open("rb") as opened:
            api = tomllib.load(opened).get("api", {})
    except (OSError, tomllib.TOMLDecodeError):
        return ""
    host, port = str(api.get("host", "127.0.0.1")), api.get("port", 9876)
    return f"http://{endpoint(host, port)}"
