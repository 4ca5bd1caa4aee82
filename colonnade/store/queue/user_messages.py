# SPDX-License-Identifier: Apache-2.0
"""Messages of drivers and haproxy, in the form that users may read.

An error of a driver, or haproxy's own, may name amphorae, files and addresses that are no
business of a load balancer's owner. What is said of the owner's own configuration stays, in the
words it was said in. This module knows no driver: it takes away what no user should see
from any message.
"""

import re
from typing import Final

_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# haproxy's own headings: "[ALERT]    (1234) : config : parsing [/a/file:12] : ".
_HEADING: Final = re.compile(
    r"^\s*\[\w+\]\s*(?:\(\d+\)\s*:\s*)?(?:config\s*:\s*)?(?:parsing \[[^\]]*\]\s*:\s*)?"
)
# Lines of haproxy about itself, which say nothing of the configuration.
_EMPTY: Final = re.compile(
    r"haproxy version is|path to executable is|Error\(s\) found in configuration file"
    r"|Fatal errors found in configuration|^\s*(?:Traceback \(|File \"|\S*Error: )"
)
_AMPHORA: Final = re.compile(rf"\b(?:the |an )?(amphora|machine|compute|instance) {_ID}")
_PLACE: Final = re.compile(
    r"\s*(?:\[|\(|in |at )?(?<![\w.])/(?:run|tmp|usr|var|etc|home|opt|proc"
    r"|root|srv|dev|lib)(?:/[\w.@:%+-]*)+[\])]?"
)
_INTERNAL: Final = re.compile(
    r"\b198\.1[89](?:\.\d{1,3}){2}(?::\d+)?\b"
)  # RFC 2544: the LB network


def for_users(text: str) -> str:
    """The text without what belongs to the machinery; never empty."""
    kept = [_HEADING.sub("", line) for line in text.splitlines() if not _EMPTY.search(line)]
    shown = "; ".join(line.strip() for line in kept if line.strip())
    shown = _AMPHORA.sub(r"an \1", shown)
    shown = _INTERNAL.sub("an internal address", _PLACE.sub("", shown))
    return shown.strip(" :;") or "The load balancer cannot be served; its operator knows why."
