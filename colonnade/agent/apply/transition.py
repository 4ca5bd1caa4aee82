# SPDX-License-Identifier: Apache-2.0
"""From one bundle to another, as one value. Pure."""

from functools import cached_property

import msgspec

from colonnade.protocol.bundle import Bundle, Change, plan_change


class Transition(msgspec.Struct, frozen=True, dict=True):
    """`before` is None when nothing was served. `force_reload`: the running haproxy may be
    anywhere between the two bundles, so it must read the whole wanted file."""

    before: Bundle | None
    wanted: Bundle
    force_reload: bool = False

    @cached_property
    def change(self) -> Change:
        return plan_change(None if self.force_reload else self.before, self.wanted)

    @property
    def is_same(self) -> bool:
        """Whether the two differ in their generation at most."""
        return self.before is not None and self.before.digest == self.wanted.digest

    @property
    def keeps_config(self) -> bool:
        """Whether haproxy's text stays, and with it the ports that are open."""
        return self.before is not None and self.before.config == self.wanted.config

    @property
    def growth(self) -> float:
        """How much larger the wanted text is."""
        return len(self.wanted.config) / max(1, len(self.before.config if self.before else ""))

    @property
    def kept_servers(self) -> frozenset[tuple[str, str]]:
        """Backend and name of the servers that both have, with one address and the same options."""
        known = {} if self.before is None else _servers(self.before)
        return frozenset(
            name for name, server in _servers(self.wanted).items() if known.get(name) == server
        )


def _servers(bundle: Bundle) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (backend.name, server.name): (server.address, server.options)
        for backend in bundle.backends
        for server in backend.servers
    }
