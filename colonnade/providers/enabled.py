# SPDX-License-Identifier: Apache-2.0
"""Which provider each name of the configuration means.

`amphora` and `octavia` are one provider: clients and suites written for Octavia ask for either,
and the answer keeps the name that was asked for. Where nothing is to be served, noop answers to
every name.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from colonnade.domain.errors import Broken
from colonnade.drivers.network.protocol import NetworkDriver
from colonnade.providers.amphora import AmphoraProvider
from colonnade.providers.noop import NoopProvider
from colonnade.providers.provider import Provider, Providers


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """What is there for the provider that serves with haproxy."""

    templates_dir: Path | None = None  # the operator's own haproxy templates
    serves_pairs: bool = False  # there is a keepalived


def enabled_providers(
    names: Sequence[str],
    *,
    default: str,
    network: NetworkDriver | None,
    noop: bool = False,
    ours: Ours = Ours(),  # noqa: B008 - frozen
) -> Providers:
    """Raises Broken for a name that no provider has, and for a default that is not among the
    names."""
    nothing = NoopProvider()
    own = AmphoraProvider(network, ours.templates_dir, serves_pairs=ours.serves_pairs)
    amphora: Provider = nothing if noop else own
    known: dict[str, Provider] = {"amphora": amphora, "octavia": amphora, "noop": nothing}
    missing = [name for name in (*names, default) if name not in known]
    if missing:
        raise Broken(f"Provider '{missing[0]}' was not found.")
    if default not in names:
        raise Broken(
            f"the default provider '{default}' is not enabled; enabled_providers are "
            f"{', '.join(names)}"
        )
    return Providers({name: known[name] for name in names}, default=default)
