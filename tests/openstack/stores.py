# SPDX-License-Identifier: Apache-2.0
"""What Nova keeps its records in and sends its messages through (Octavia keeps its own in the
first): a MariaDB and a RabbitMQ of the distribution, each with a folder of its own and ended by its
own process id. Nova is several processes that write at once, which SQLite does not bear."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.openstack.keystone import free_port

START_S_MAX = 120.0
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/rabbitmq/bin"
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
LACKING = "needs mariadbd and rabbitmq-server (Debian packages mariadb-server, rabbitmq-server)"


def skip_without(*, messages: bool = True) -> None:
    """The test that asks is skipped where the distribution's programs are not there."""
    lacks_messages = messages and not Path(RABBITMQ).exists()
    if shutil.which("mariadbd", path=SBIN) is None or lacks_messages:
        pytest.skip(LACKING)


@contextlib.contextmanager
def started(
    argv: Sequence[str | Path], log: Path, *, ready: Callable[[], bool],
    said: Mapping[str, str] | None = None, cwd: Path | None = None,
) -> Iterator[None]:  # fmt: skip
    """The process group, until it is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, argv)], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True, env=dict(said) if said is not None else None, cwd=cwd,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S_MAX
        while not ready():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
            return


@contextlib.contextmanager
def mariadb(folder: Path, databases: Sequence[str]) -> Iterator[Callable[[str], str]]:
    """What makes an address of the database's name. It listens on a socket in the folder only."""
    folder.mkdir(parents=True)
    sock = folder / "sock"
    user = ["--user=root"] if os.geteuid() == 0 else []  # else nobody else may read the folder
    said = dict(os.environ) | {"PATH": SBIN}
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", *user, f"--datadir={folder}/db",
         "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, env=said, capture_output=True,
    )  # fmt: skip
    argv = [
        shutil.which("mariadbd", path=SBIN) or "mariadbd", "--no-defaults", *user,
        f"--datadir={folder}/db", f"--socket={sock}", f"--pid-file={folder}/pid",
        "--skip-networking", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0",
        "--skip-log-bin", "--performance-schema=0", "--max-connections=300",
        "--character-set-server=utf8mb3", "--transaction-isolation=READ-COMMITTED",
    ]  # fmt: skip

    def asked(statement: str) -> bool:
        argv = ["mariadb", "-uroot", f"--socket={sock}", "-e", statement]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    log = folder.parent / "mariadb.log"
    with started(argv, log, ready=lambda: asked("select 1"), said=said):
        for name in databases:
            assert asked(f"create database {name} character set utf8mb3"), name
        yield (
            lambda name: f"mysql+pymysql://root@localhost/{name}?unix_socket={sock}&charset=utf8mb3"
        )


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """Its address as services are told it. All of it is on loopback."""
    folder.mkdir(parents=True)
    names, port = str(free_port()), free_port()
    listen = "-kernel inet_dist_use_interface {127,0,0,1}"
    plugins = folder / "plugins"
    plugins.write_text("[].")
    said = {n: v for n, v in os.environ.items() if not n.startswith("RABBITMQ_")}
    said |= {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": names,
        "RABBITMQ_NODENAME": f"of-tests-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{listen} +S 1:1 +sbwt none",
        "RABBITMQ_CTL_ERL_ARGS": listen,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
    }
    epmd = ["epmd", "-address", "127.0.0.1", "-port", names]
    with (
        started(epmd, folder / "epmd.log", ready=lambda: _listens(int(names)), said=said),
        started([RABBITMQ], folder / "served.log", ready=lambda: _listens(port), said=said),
    ):
        yield f"rabbit://guest:guest@127.0.0.1:{port}/"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
