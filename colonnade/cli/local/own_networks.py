# SPDX-License-Identifier: Apache-2.0
"""Networks of this machine itself, for whoever starts the network daemon: looked at before, handed
over, and cleared away afterwards.

Where the configuration has none, nothing is loaded, opened or looked at. Netlink wants a thread in
which no event loop runs.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colonnade.cli.local.metrics_places import FILES_ABOVE
from colonnade.domain.errors import Broken, Invalid
from colonnade.drivers.network.namespaces.lab import HOST_NETWORK
from colonnade.runtime.config import Config
from colonnade.runtime.system_programs import find_nft


def read(text: str) -> dict[str, Any]:
    """A table of the configuration, as the command line has it: "name=web,mode=host". A key that is
    said again has several values. Raises Invalid; what keys there are is known to `read_config`."""
    said: dict[str, list[Any]] = {}
    for word in text.split(","):
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value):
            raise Invalid(f"--network {text}: {word!r} is no KEY=VALUE, as in name=web,mode=host")
        is_number = key == "vlan" and value.isdecimal()
        said.setdefault(key, []).append(int(value) if is_number else value)
    return {key: values if len(values) > 1 else values[0] for key, values in said.items()}


def check(config: Config) -> None:
    """Raises Invalid or Broken for networks that this machine cannot have."""
    if not config.network:
        return
    if os.geteuid() != 0:
        raise Invalid("the configuration has [[network]]: networks of the machine need root")
    if find_nft() is None:
        raise Broken("nft is missing, which [[network]] needs: install the package nftables")
    from colonnade.drivers.network.namespaces import host_network  # netlink is large

    host_network.check(config.network)


def handed_over(config: Config) -> Mapping[str, int]:
    """The network of this process, an open file by the variable that names it; nothing, where it is
    not needed."""
    if not config.network:
        return {}
    low = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {HOST_NETWORK: fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FILES_ABOVE)}
    finally:
        os.close(low)


def clear(run_dir: Path) -> None:
    """What a system that has ended left in the network of this machine."""
    if os.geteuid() == 0:
        from colonnade.drivers.network.namespaces import host_network

        host_network.clear(run_dir)
