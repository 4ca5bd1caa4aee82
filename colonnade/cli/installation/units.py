# SPDX-License-Identifier: Apache-2.0
"""The units of systemd, made from one table: a process each, and what belongs to it.

Each office is an account of its own without any right, and sees the machine read only; a process
is restarted when it ends, and when it hangs. All may start in any order: who lacks another one
waits for it. The lab, in which amphorae serve, is a unit of its own that no restart of the others
touches: no other unit stops it, and `colonnade-*` does not mean it. Where amphorae are a cloud's
there is no lab, and every process is in the machine's own network.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from colonnade.cli.installation.layout import Layout
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.far_database import RELAY_PATH, far_servers
from colonnade.cli.local.offices import NETWORK_RIGHTS
from colonnade.domain.addresses import endpoint
from colonnade.drivers.chosen import is_in_cloud
from colonnade.runtime import host_ids, program
from colonnade.runtime.config import (
    METRICS_SOCKET,
    OFFICES_OF_METRICS,
    RELAY,
    RELAY_SOCKET,
    Config,
)
from colonnade.store.postgres.embedded import SOCKET_FOLDER

MADE: Final = "# Made by `colonnade init`"
TARGET: Final = "colonnade.target"
LAB: Final = "colonnade.lab.service"  # the dot: `systemctl restart 'colonnade-*'` passes it over
DATABASE: Final = "colonnade-database.service"
NETWORK: Final = "colonnade-network.service"
RELAY_UNIT: Final = "colonnade-relay.service"
CONTROL_LINK: Final = "control"  # below the run folder: leads to the network namespace `control`
PID_FILE: Final = "lab.pid"  # there too
IN_CONTROL: Final = ("controller", "health")  # amphorae find them on the LB network
HOMES: Final = tuple(Path(name) for name in ("/home", "/root", "/run/user"))
PRIVATE: Final = (*HOMES, Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - a unit has its own
FILES_MAX: Final = 65_536
WHAT: Final[Mapping[str, str]] = {
    "api": "the API",
    "controller": "the controller",
    "health": "the health process",
    "network": "the network daemon",
    "relay": "the relay to the database",
}

Lines: TypeAlias = Sequence[tuple[str, str]]

# A process without rights that writes nothing to the machine.
HARDENED: Final[Lines] = (
    ("CapabilityBoundingSet", ""),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateUsers", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RemoveIPC", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged"),
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0077"),
)
# What makes namespaces and enters them: it needs rights, but not all of the kernel's calls. What
# it starts has no more, so this bounds amphorae as well.
NEVER: Final = "~@clock @cpu-emulation @debug @keyring @module @obsolete @raw-io @reboot @swap"
BOUNDED: Final[Lines] = (
    ("DevicePolicy", "closed"),
    ("LockPersonality", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", NEVER),
    ("SystemCallErrorNumber", "EPERM"),
)
KEPT_UP: Final[Lines] = (("Restart", "always"), ("RestartSec", "1"))


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What no key of the configuration says."""

    has_database: bool = True  # the embedded one
    host_route: bool = False


def unit_files(layout: Layout, config: Config, options: Options) -> Mapping[str, str]:
    """Every unit, by its name."""
    has_lab = not is_in_cloud(config)
    far = far_servers(config) if has_lab else []
    found = dict(_offices(layout, options, _places(layout, has_lab=has_lab, by_relay=bool(far))))
    if far:
        found |= dict(_relay(layout, far))
    if has_lab:
        found |= dict(_metrics_sockets(config))
        found[LAB] = _lab(layout, options)
        found[NETWORK] = _network(layout)
    found["colonnade-renew.service"] = _renewal(layout, config)
    found["colonnade-renew.timer"] = _renewal_timer()
    if options.has_database:
        found[DATABASE] = _database(layout, config)
    wanted = [name for name in sorted(found) if name != "colonnade-renew.service"]
    found[TARGET] = _text(
        Unit=[("Description", "Colonnade: load balancing"), ("Wants", " ".join(wanted))],
        Install=[("WantedBy", "multi-user.target")],
    )
    return found


def account_of(office: str) -> str:
    return f"{host_ids.ACCOUNT}-{office}"


def metrics_ports(config: Config) -> Mapping[str, int]:
    """Of the processes that there are."""
    ports = {name: config.metrics.port + place for place, name in enumerate(OFFICES_OF_METRICS)}
    if is_in_cloud(config):
        del ports["network"]
    return ports


class Place(msgspec.Struct, frozen=True):
    """Where a process is: what its unit says of it, in either section."""

    unit: Lines = ()
    service: Lines = ()


def _places(layout: Layout, *, has_lab: bool, by_relay: bool) -> Mapping[str, Place]:
    """Of those that are not simply in the machine's own network."""
    if not has_lab:
        return {}
    way = [("Environment", _word(f"{RELAY}={layout.run_dir / RELAY_PATH}"))] if by_relay else []
    return {name: Place(_OF_AMPHORAE, [*_inside(layout, name), *way]) for name in IN_CONTROL}


def _offices(
    layout: Layout, options: Options, places: Mapping[str, Place]
) -> Iterator[tuple[str, str]]:
    after = [("After", DATABASE)] if options.has_database else []
    for name in (one for one in OFFICES_OF_METRICS if one != "network"):
        place = places.get(name, Place())
        yield (
            f"colonnade-{name}.service",
            _text(
                Unit=[*_about(name), *after, *place.unit],
                Service=_without_rights(
                    name,
                    ("SupplementaryGroups", host_ids.ACCOUNT),
                    ("ExecStartPre", _command(layout, "migrate", more=("--wait",))),
                    ("ExecStart", _command(layout, name)),
                    ("TimeoutStartSec", "infinity"),  # it waits for the database
                    *place.service,
                ),
            ),
        )


def _without_rights(name: str, *own: tuple[str, str]) -> Lines:
    """Of a process that tells when it is there and that it lives, and may do nothing."""
    return (
        ("Type", "notify"),
        ("User", account_of(name)),
        *own,
        ("WatchdogSec", "30"),
        ("TimeoutStopSec", "20"),
        *KEPT_UP,
        ("LimitNOFILE", str(FILES_MAX)),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        *_homes(),
        *HARDENED,
    )


_OF_LAB: Final[Lines] = (("Requires", LAB), ("After", LAB), ("PartOf", LAB))
# After a boot amphorae are started again first: who misses one replaces it.
_OF_AMPHORAE: Final[Lines] = (*_OF_LAB, ("After", NETWORK))


def _inside(layout: Layout, name: str) -> Iterator[tuple[str, str]]:
    yield ("NetworkNamespacePath", str(layout.run_dir / CONTROL_LINK))
    # Opened outside, where who reads metrics is.
    yield ("Sockets", _socket(name))
    yield ("Environment", f"{METRICS_SOCKET}=3")


def _relay(layout: Layout, servers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """It is in no group that may read what the others may."""
    yield (
        RELAY_UNIT,
        _text(
            Unit=_about("relay"),
            Service=_without_rights(
                "relay",
                ("ExecStart", _line(colonnade("relay", *servers))),
                ("Sockets", _socket("relay")),
                ("Environment", f"{RELAY_SOCKET}=3"),
            ),
        ),
    )
    yield (
        _socket("relay"),
        _text(
            Unit=[("Description", "Colonnade: where the relay is found"), _PART],
            Socket=[
                ("ListenSequentialPacket", str(layout.run_dir / RELAY_PATH)),
                ("SocketMode", "0660"),
                ("SocketGroup", host_ids.ACCOUNT),
                ("Service", RELAY_UNIT),
            ],
        ),
    )


def _metrics_sockets(config: Config) -> Iterator[tuple[str, str]]:
    for name in (*IN_CONTROL, "network"):
        place = endpoint(config.metrics.host, metrics_ports(config)[name])
        yield (
            _socket(name),
            _text(
                Unit=[("Description", f"Colonnade: metrics of {WHAT[name]}"), _PART],
                Socket=[("ListenStream", place), ("Service", f"colonnade-{name}.service")],
            ),
        )


def _socket(name: str) -> str:
    """It cannot be restarted while its service runs: so `colonnade-*` passes it over, too."""
    return f"colonnade.{name}.socket"


def _lab(layout: Layout, options: Options) -> str:
    more = ("--host-route",) if options.host_route else ()
    return _text(
        Unit=[("Description", "Colonnade: where amphorae serve"), ("StartLimitIntervalSec", "0")],
        Service=[
            ("Type", "forking"),
            ("PIDFile", str(layout.run_dir / PID_FILE)),
            ("GuessMainPID", "no"),
            ("ExecStart", _command(layout, "unit", "lab", more=more)),
            ("Delegate", "yes"),
            ("OOMPolicy", "continue"),  # one amphora's end is no end of the others
            ("TasksMax", "infinity"),
            *KEPT_UP,
            ("CapabilityBoundingSet", _rights("chown", "dac_override", "sys_chroot")),
            *BOUNDED,
        ],
    )


def _network(layout: Layout) -> str:
    return _text(
        Unit=[*_about("network"), *_OF_LAB],
        Service=[
            ("Type", "notify"),
            ("NotifyAccess", "all"),  # it is a child of what entered the lab for it
            ("KillMode", "mixed"),
            ("ExecStart", _command(layout, "unit", "network")),
            ("Sockets", _socket("network")),
            ("Environment", f"{METRICS_SOCKET}=3"),
            ("WatchdogSec", "30"),
            ("TimeoutStartSec", "15min"),  # after a boot it starts all amphorae first
            ("TimeoutStopSec", "20"),
            *KEPT_UP,
            ("LimitNOFILE", "1048576"),  # of each haproxy, too
            ("TasksMax", "infinity"),
            # Entering takes one right more than the daemon keeps.
            ("CapabilityBoundingSet", _rights("sys_chroot")),
            ("NoNewPrivileges", "yes"),
            *BOUNDED,
        ],
    )


def _database(layout: Layout, config: Config) -> str:
    socket = layout.run_dir / SOCKET_FOLDER
    data = config.state_dir / "postgres"
    return _text(
        Unit=_about("database"),
        Service=[
            ("Type", "exec"),
            ("User", account_of("database")),
            ("Group", host_ids.ACCOUNT),  # who may enter the folder of its socket
            ("RuntimeDirectory", str(socket.relative_to("/run"))),
            ("RuntimeDirectoryMode", "0710"),
            ("RuntimeDirectoryPreserve", "yes"),
            ("ExecStart", _command(layout, "unit", "database")),
            ("KillSignal", "SIGINT"),  # PostgreSQL's fast and clean end
            ("KillMode", "mixed"),
            ("TimeoutStopSec", "60"),
            *KEPT_UP,
            ("ReadWritePaths", _word(data)),
            ("PrivateNetwork", "yes"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            *_homes(),
            *HARDENED,
        ],
    )


def _renewal(layout: Layout, config: Config) -> str:
    return _text(
        Unit=[("Description", "Colonnade: certificates of its processes")],
        Service=[
            ("Type", "oneshot"),
            ("ExecStart", _command(layout, "unit", "renew")),
            ("ReadWritePaths", f"{_word(config.pki_dir)} {_word(layout.etc)}"),
            ("PrivateNetwork", "yes"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            *_program(),
            *(
                line
                for line in HARDENED
                if line[0] not in {"CapabilityBoundingSet", "PrivateUsers"}
            ),
            # The files are root's; who may read them is said by their groups.
            ("CapabilityBoundingSet", "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE"),
            ("SystemCallFilter", "@chown"),
        ],
    )


def _renewal_timer() -> str:
    return _text(
        Unit=[("Description", "Colonnade: looks at certificates"), _PART],
        Timer=[("OnActiveSec", "10min"), ("OnUnitActiveSec", "6h")],
    )


_PART: Final = ("PartOf", TARGET)


def _about(name: str) -> Lines:
    what = WHAT.get(name, f"the {name}")
    return [("Description", f"Colonnade: {what}"), _PART, ("StartLimitIntervalSec", "0")]


def _rights(*more: str) -> str:
    return " ".join(f"CAP_{name.upper()}" for name in (*NETWORK_RIGHTS, *more))


def _homes() -> Lines:
    """Homes are empty, but for our program if it lies in one."""
    return [("ProtectHome", "tmpfs"), *_program()]


def _program() -> Lines:
    """Our program, if it lies where a unit would not see it."""
    every = dict.fromkeys(way for path in program.places() for way in (path, path.resolve()))
    ours = [path for path in every if any(place in path.parents for place in PRIVATE)]
    return [("BindReadOnlyPaths", _word(path)) for path in ours]


def _command(layout: Layout, *words: str, more: Sequence[str] = ()) -> str:
    argv = colonnade(*words, "--config", str(layout.config), *more)
    assert argv[0] == sys.executable
    return _line(argv)


def _line(argv: Sequence[str]) -> str:
    return " ".join(_word(word).replace("$", "$$") for word in argv)


def _word(text: object) -> str:
    """As a unit's file has it: no specifier, no end at a blank."""
    plain = str(text).replace("%", "%%").replace("\\", "\\\\")
    if any(letter.isspace() or letter in "\"'" for letter in plain):
        quoted = plain.replace('"', '\\"')
        return f'"{quoted}"'
    return plain


def _text(**sections: Lines) -> str:
    parts = [
        "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in lines)])
        for name, lines in sections.items()
    ]
    return f"{MADE}; for changes of your own: `systemctl edit`.\n" + "\n\n".join(parts) + "\n"
