# SPDX-License-Identifier: Apache-2.0
"""What amphorae would be given for a tree, without any amphora: for a change that is only tried.

The same code renders and compares as when the change is carried out. Interfaces are left out,
because an amphora's ports are chosen only when it is carried out; no secret is read.
"""

import re
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import FlavorId
from colonnade.domain.secrets import SecretType
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora.haproxy import certificates
from colonnade.drivers.amphora.haproxy.render import Templates, render
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle, Change, Secret, plan_change
from colonnade.providers.provider import Action, Preview

FILE: Final = "haproxy.cfg"
_TIES: Final = (
    paths.HAPROXY_SOCKET,
    paths.HAPROXY_LOG_SOCKET,
    paths.HAPROXY_ACCESS_SOCKET,
    paths.HAPROXY_PEERS_SOCKET,
    paths.SERVER_STATE,
)
_FOLDERS: Final = re.compile(rf"{re.escape(paths.ROOT)}/(?:[\w.-]+/)*")


class Rendered:
    def __init__(self, templates_dir: Path | None) -> None:
        self._templates_dir = templates_dir
        self._templates: Templates | None = None  # most processes are never asked

    def preview(self, before: LoadBalancer | None, after: LoadBalancer | None) -> Preview:
        old, new = self._bundle(before), self._bundle(after)
        diff = unified_diff(
            [*_lines(old)], [*_lines(new)], f"before/{FILE}", f"after/{FILE}", lineterm=""
        )
        if old is None or new is None:
            action = Action.BUILD if old is None else Action.REMOVE
            return Preview(action=action, diff="\n".join(diff))
        change = plan_change(old, new)
        action = Action.REPLACE if _flavor(before) != _flavor(after) else _action(change)
        return Preview(action=action, access=change.access, diff="\n".join(diff))

    def _bundle(self, tree: LoadBalancer | None) -> Bundle | None:
        if tree is None:
            return None
        if self._templates is None:
            self._templates = Templates.load(self._templates_dir)
        cluster = Cluster(id=tree.cluster_id, generation=0, load_balancers=(tree,))
        bundle = render(cluster, (), self._templates)
        return replace(bundle, secrets=dict(_stand_ins(tree, bundle.config)))


def _stand_ins(tree: LoadBalancer, config: str) -> Iterator[tuple[str, Secret]]:
    """For each secret that the file names, its reference: enough to tell whether another takes its
    place, and nobody's secret."""
    for file in certificates.files(tree):
        if certificates.path(file.name) in config:
            in_place = file.type is SecretType.CERTIFICATE
            yield file.name, Secret(file.reference, in_place=in_place)


def _action(change: Change) -> Action:
    if change.reload:
        return Action.RELOAD
    return Action.RUNTIME if change.touches_servers or change.replaced else Action.NOTHING


def _flavor(tree: LoadBalancer | None) -> FlavorId | None:
    return tree.flavor_id if tree is not None else None


def _lines(bundle: Bundle | None) -> Iterator[str]:
    """Of files a user sees the names, and of what ties haproxy to its agent nothing."""
    for line in bundle.config.splitlines() if bundle is not None else ():
        if not any(place in line for place in _TIES):
            yield _FOLDERS.sub("", line)
