# SPDX-License-Identifier: Apache-2.0
"""A short-lived process: send files of logs to the places that were given for them.

Reads a JSON list of `Consignment` from standard input and writes a list of results, "" for what
has arrived. Files of one listener go in order, and after a failed one the rest is not tried;
listeners do not wait for each other. It has no rights and no credentials but the places. Sent
twice is possible (the answer may be lost), not sent and "" is not.
"""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from colonnade.agent.logs.consignment import Consignment, Failed
from colonnade.agent.logs.otlp import post
from colonnade.agent.logs.syslog import stream
from colonnade.agent.logs.upload import put
from colonnade.protocol.logs import FAILURE_MAX, LogPlace

AT_ONCE: Final = 8
NOT_TRIED: Final = "not tried after another failure"


Send = Callable[[str, LogPlace], None]


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Consignment])
    results = deliver(load, {"PUT": put, "OTLP": post, "SYSLOG": stream})
    sys.stdout.buffer.write(msgspec.json.encode(results))


def deliver(load: list[Consignment], means: Mapping[str, Send]) -> list[str]:
    """What became of each consignment."""
    numbers: dict[str, list[int]] = {}
    for number, one in enumerate(load):
        numbers.setdefault(one.listener, []).append(number)
    results = [NOT_TRIED] * len(load)

    def deliver_some(some: list[int]) -> None:
        for number in some:
            results[number] = _outcome(load[number], means)
            if results[number]:
                return

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(deliver_some, numbers.values()))
    return results


def _outcome(one: Consignment, means: Mapping[str, Send]) -> str:
    send = means.get(one.place.means)
    if send is None:
        return f"this amphora cannot send by {one.place.means}"
    try:
        send(one.path, one.place)
    except FileNotFoundError:
        return "the file was dropped meanwhile"
    except (Failed, OSError, ValueError) as error:
        return (str(error) or type(error).__name__)[:FAILURE_MAX]
    return ""


if __name__ == "__main__":
    main()
