# SPDX-License-Identifier: Apache-2.0
"""What the agent does with lines that come and with answers that do not, without any target."""

import asyncio
import socket
from pathlib import Path

from colonnade.agent.controllers import NobodyAnswers
from colonnade.agent.logs.collector import Collector
from colonnade.agent.logs.consignment import Consignment, Failed
from colonnade.agent.logs.shipment import NOT_TRIED, deliver
from colonnade.agent.logs.shipping import Logs
from colonnade.agent.logs.spool import Spool
from colonnade.protocol.logs import LogLimits, LogPlace, LogPlaces, LogQuestion

ONE, TWO = "11111111-2222-4333-8444-555555555555", "21111111-2222-4333-8444-555555555555"


class Desk:
    """A controller's end, with whatever answer the test wants."""

    def __init__(self) -> None:
        self.asked: list[LogQuestion] = []
        self.answer: LogPlaces | None = None

    async def ask(self, question: LogQuestion) -> LogPlaces:
        self.asked.append(question)
        if self.answer is None:
            raise NobodyAnswers("nobody")
        return self.answer


def office(folder: Path) -> tuple[Spool, Desk, Logs]:
    spool, desk = Spool(folder / "logs", LogLimits(file_age_s=0.0)), Desk()
    return spool, desk, Logs(folder / "access.sock", spool, desk.ask, None)


async def test_lines_are_taken_by_listener_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "logs", LogLimits(file_age_s=0.0))
    collector = Collector(tmp_path / "access.sock", spool)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as haproxy:
        haproxy.connect(str(tmp_path / "access.sock"))
        for line in (
            f'{ONE} {{"uri":"/"}}\n',
            "Proxy web started.\n",
            f"x{ONE[1:]} no\n",
            "",
            f"{TWO} a\nb\n",
            f"{ONE} {TWO} said a client\n",
        ):
            haproxy.send(line.encode())
    await asyncio.sleep(0)
    collector.close()
    spool.rotate()
    found = {f.listener: spool.path(f).read_bytes() for f in spool.unpacked()}
    assert found == {ONE: f'{{"uri":"/"}}\n{TWO} said a client\n'.encode(), TWO: b"a b\n"}


async def test_files_stay_while_nobody_answers_and_nobody_is_asked_all_the_time(
    tmp_path: Path,
) -> None:
    spool, desk, logs = office(tmp_path)
    spool.append(ONE, [b"a"])
    for _ in range(5):
        await logs.round()
    assert [len(question.files) for question in desk.asked] == [1]
    assert [file.lines for file in spool.ready()] == [1]


async def test_files_of_who_logs_no_more_go_and_the_others_wait_with_the_reason(
    tmp_path: Path,
) -> None:
    spool, desk, logs = office(tmp_path)
    spool.append(ONE, [b"a", b"b"])
    spool.append(TWO, [b"c"])
    desk.answer = LogPlaces(places=(LogPlace(), LogPlace(failure="sealed")))
    await logs.round()
    assert [file.listener for file in spool.ready()] == [TWO]
    counts = {count.listener: count for count in spool.counts}
    assert (counts[ONE].dropped, counts[TWO].failure) == (2, "sealed")
    desk.answer = LogPlaces()
    await logs.round()
    await logs.round()
    assert [len(question.files) for question in desk.asked] == [2, 0]
    assert desk.asked[1].counts == spool.counts


def test_a_listeners_files_go_in_order_and_after_a_failed_one_none() -> None:
    def send(path: str, place: LogPlace) -> None:
        if path == "bad":
            raise Failed("no")
        if path == "gone":
            raise FileNotFoundError

    def load(listener: str, *paths: str, means: str = "PUT") -> list[Consignment]:
        place = LogPlace(means=means)
        return [Consignment(path=path, listener=listener, place=place) for path in paths]

    some = [*load("1", "good", "bad", "good"), *load("2", "good"), *load("3", "gone")]
    some += load("4", "good", means="PIGEON")
    found = deliver(some, {"PUT": send})
    assert found[:4] == ["", "no", NOT_TRIED, ""]
    assert "dropped" in found[4]
    assert "PIGEON" in found[5]
