# SPDX-License-Identifier: Apache-2.0
"""Who is logged, and that haproxy takes each format."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.domain.fleet import Cluster
from colonnade.domain.listeners import AccessLog
from colonnade.domain.vocabulary import ListenerProtocol, LogFormat
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.protocol import paths
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.haproxy_trees import TEMPLATES, ident, web

SOCKET = paths.HAPROXY_ACCESS_SOCKET
HERE = AccessLog(target_id=ident(1))
NOWHERE = AccessLog()


def shop(protocol: ListenerProtocol, of_balancer: Any, of_listener: Any) -> Cluster:
    made = web(protocol)
    (tree,) = made.load_balancers
    (listener,) = tree.listeners
    logged = replace(listener, access_log=of_listener)
    tree = replace(tree, access_log=of_balancer, listeners=(logged,))
    return replace(made, load_balancers=(tree,))


@pytest.mark.parametrize(
    ("of_balancer", "of_listener", "logged"),
    [
        (None, None, False),
        (HERE, None, True),
        (None, HERE, True),
        (HERE, NOWHERE, False),
        (NOWHERE, HERE, True),
    ],
)
def test_a_listener_is_logged_when_it_or_else_its_load_balancer_says_where(
    of_balancer: Any, of_listener: Any, logged: bool
) -> None:
    made = shop(ListenerProtocol.HTTP, of_balancer, of_listener)
    assert (SOCKET in render(made, (), TEMPLATES).config) is logged
    assert not objections(made.load_balancers[0])


def test_haproxy_takes_both_formats_in_both_modes(tmp_path: Path) -> None:
    for protocol in (ListenerProtocol.HTTP, ListenerProtocol.TCP):
        texts = set()
        for form in LogFormat:
            made = shop(protocol, None, AccessLog(format=form, target_id=ident(1)))
            text = render(made, (), TEMPLATES).config
            texts.add(text)
            file = tmp_path / "haproxy.cfg"
            # An amphora's own places may be somebody else's on the machine that runs the test.
            file.write_text(text.replace(paths.ROOT, str(tmp_path)))
            done = subprocess.run(
                [find_haproxy(""), "-c", "-f", file], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "WARNING" not in done.stderr
        assert len(texts) == len(LogFormat)
