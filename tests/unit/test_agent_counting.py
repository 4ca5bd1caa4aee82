# SPDX-License-Identifier: Apache-2.0
"""Whoever asks for counters at the same time: nothing is counted twice."""

import asyncio
from pathlib import Path

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.status import Watch

HEAD = "# pxname,svname,type,stot,req_tot,"


async def test_older_numbers_after_newer_ones_are_not_counted_twice(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    readings = iter([(100, 0.3), (200, 0.0)])  # the first answer comes last, unless one waits

    async def master(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.read()).decode()
        if "show proc" in asked:
            writer.write(b"7 worker 0 0d\n")
        elif asked:  # nothing is asked by who only looks for a master
            requests, late_s = next(readings)
            await asyncio.sleep(late_s)
            writer.write(f"{HEAD}\nweb,FRONTEND,0,{requests},{requests},\n".encode())
        writer.close()

    serving = await asyncio.start_unix_server(master, folder.master_socket)
    haproxy = Haproxy("haproxy", folder, Path("/proc/self/ns/net"))
    assert haproxy.adopt()
    watch = Watch(folder, haproxy)
    await asyncio.gather(watch.count(), watch.count())
    readings = iter([(201, 0.0)])
    (web,) = (await watch.count()).listeners
    assert web.total_connections == 201
    serving.close()
