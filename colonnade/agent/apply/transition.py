# SPDX-License-Identifier: Apache-2.0
"""From one bundle to another, as one value. Pure."""

from functools import cached_property

import msgspec
from msgspec.structs import replace

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
    def only_stands(self) -> bool:
        """Whether nothing differs but whether this half may have the VIPs."""
        before, pair = self.before, self.wanted.pair
        if before is None or before.pair is None or pair is None or self.force_reload:
            return False
        stood = replace(before.pair, stands_down=pair.stands_down)
        return replace(before, pair=stood).digest == self.wanted.digest

    @property
    def keeps_config(self) -> bool:
        """Whether haproxy's text stays, and with it the ports that are open."""
        return self.before is not None and self.before.config == self.wanted.config

    @property
    def moves_vips(self) -> bool:
        """Whether the halves of a pair, or what moves between them, are others."""
        pair = self.wanted.pair
        if self.before is None or self.force_reload:
            return pair is not None
        return pair != self.before.pair or (pair is not None and self.change.interfaces)

    @property
    def names_interfaces(self) -> bool:
        """Whether it must be known what the kernel calls the interfaces."""
        return self.change.interfaces or self.moves_vips

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
