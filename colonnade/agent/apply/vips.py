# SPDX-License-Identifier: Apache-2.0
"""What decides beside haproxy whether clients come to this amphora for its VIPs."""

from typing import NamedTuple

from colonnade.agent.bgp.speaker import Speaker
from colonnade.agent.keepalived.half import Half


class Vips(NamedTuple):
    half: Half
    speaker: Speaker
