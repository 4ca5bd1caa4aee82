# SPDX-License-Identifier: Apache-2.0
"""The spool loses nothing that it does not count, and is never larger than it may be."""

import gzip
from pathlib import Path

from colonnade.agent.logs.spool import Spool, pack
from colonnade.protocol.logs import LogCount, LogLimits

ONE, TWO = "11111111-2222-4333-8444-555555555555", "21111111-2222-4333-8444-555555555555"
AT_ONCE = LogLimits(file_age_s=0.0)


def pack_all(spool: Spool) -> None:
    for file in spool.unpacked():
        spool.packed(file, pack(spool.path(file)))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".log", ".gz"))


def test_lines_come_out_as_they_went_in_by_listener_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AT_ONCE)
    spool.append(ONE, [b"a", b"b"])
    spool.append(TWO, [b"x"])
    spool.append(ONE, [b"c"])
    assert spool.ready() == []
    spool.rotate()
    pack_all(spool)
    found = [
        (f.listener, f.lines, gzip.decompress(spool.path(f).read_bytes())) for f in spool.ready()
    ]
    assert found == [(ONE, 3, b"a\nb\nc\n"), (TWO, 1, b"x\n")]
    for file in spool.ready():
        spool.sent(file)
    assert (spool.size, on_disk(tmp_path)) == (0, 0)
    assert {(c.listener, c.sent, c.dropped) for c in spool.counts} == {(ONE, 3, 0), (TWO, 1, 0)}


def test_a_file_is_closed_when_it_is_large_and_not_before(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LogLimits(file_bytes=100))
    spool.append(ONE, [b"x" * 49])
    spool.rotate()
    assert spool.unpacked() == []
    spool.append(ONE, [b"x" * 49])
    assert [file.lines for file in spool.unpacked()] == [2]


def test_the_oldest_go_when_there_is_no_room_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LogLimits(file_bytes=1000, spool_bytes=5000))
    for number in range(300):
        spool.append(ONE if number % 3 else TWO, [b"%05d" % number + b"x" * 94])
        assert on_disk(tmp_path) == spool.size <= 5000
    kept = sum(file.lines for file in [*spool.unpacked(), *spool.ready()])
    spool.rotate()
    spool.close()
    counts = spool.counts
    kept = sum(file.lines for file in spool.unpacked())
    assert kept + sum(count.dropped for count in counts) == 300
    assert 0 < kept <= 50
    newest = b"".join(spool.path(file).read_bytes() for file in spool.unpacked())
    assert b"00299" in newest and b"00000" not in newest


def test_a_new_spool_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    killed = Spool(tmp_path, AT_ONCE)
    killed.append(ONE, [b"sent"])
    killed.rotate()
    pack_all(killed)
    killed.sent(killed.ready()[0])
    killed.save()
    killed.append(ONE, [b"packed"])
    killed.rotate()
    pack_all(killed)
    killed.append(TWO, [b"open", b"too"])
    (tmp_path / ".1.new").write_bytes(b"half packed")

    spool = Spool(tmp_path, AT_ONCE)
    assert spool.size == on_disk(tmp_path)
    pack_all(spool)
    assert [(f.listener, f.lines) for f in spool.ready()] == [(ONE, 1), (TWO, 2)]
    assert spool.counts == (LogCount(listener=ONE, sent=1),)
    assert not list(tmp_path.glob(".*.new"))
    spool.append(ONE, [b"later"])
    spool.rotate()
    sequences = [f.sequence for f in [*spool.ready(), *spool.unpacked()]]
    assert sequences == sorted(set(sequences))


def test_of_a_file_that_was_being_packed_when_the_agent_ended_one_is_kept(tmp_path: Path) -> None:
    killed = Spool(tmp_path, AT_ONCE)
    killed.append(ONE, [b"once"])
    killed.rotate()
    plain = killed.path(killed.unpacked()[0])
    text = plain.read_bytes()
    pack_all(killed)
    plain.write_bytes(text)  # as if it had not come to remove it
    spool = Spool(tmp_path, AT_ONCE)
    assert spool.unpacked() == []
    assert [file.lines for file in spool.ready()] == [1]


def test_a_file_dropped_while_it_is_packed_stays_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AT_ONCE)
    spool.append(ONE, [b"a"])
    spool.rotate()
    (file,) = spool.unpacked()
    size = pack(spool.path(file))
    spool.drop(file)
    spool.packed(file, size)
    assert (spool.ready(), spool.size, on_disk(tmp_path)) == ([], 0, 0)
    assert spool.counts == (LogCount(listener=ONE, dropped=1),)


def test_a_folder_that_cannot_be_written_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, AT_ONCE)
    folder.rmdir()
    spool.append(ONE, [b"a", b"b"])
    assert spool.counts == (LogCount(listener=ONE, dropped=2),)
    folder.mkdir()
    spool.append(ONE, [b"c"])
    spool.rotate()
    assert [file.lines for file in spool.unpacked()] == [1]


def test_lines_for_a_stream_do_not_wait_as_long_as_those_for_a_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LogLimits(stream_age_s=0.0))
    for listener in (ONE, TWO):
        spool.append(listener, [b"a"])
    spool.rotate([ONE])
    assert [file.listener for file in spool.unpacked()] == [TWO]
