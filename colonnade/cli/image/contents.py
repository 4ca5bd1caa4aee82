# SPDX-License-Identifier: Apache-2.0
"""What an amphora's image has beside packages: the files of its root, as text.

Invariant: nothing in it is secret, and no amphora differs by it from another. The root is read
only: what changes is below /run and /tmp, in memory, and bounded.
"""

from collections.abc import Mapping
from typing import Final

from colonnade.protocol import paths

MARK: Final = "etc/colonnade-amphora"  # what the initrd knows the root by
UNITS: Final = "etc/systemd/system"
JOURNAL_MAX: Final = "16M"
# What an amphora has no use for, or does itself. Where there is no shell, there is no console to
# log in at; haproxy and keepalived are the agent's.
MASKED: Final = (
    *("haproxy.service", "keepalived.service", "nftables.service", "console-getty.service"),
    *("getty@.service", "serial-getty@.service", "systemd-logind.service"),
    *("dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("systemd-random-seed.service", "systemd-update-done.service", "systemd-hwdb-update.service"),
    *("systemd-pstore.service", "systemd-networkd.service", "systemd-networkd.socket"),
    *("systemd-remount-fs.service", "systemd-journal-flush.service", "ldconfig.service"),
    *("kmod-static-nodes.service", "modprobe@.service", "systemd-initctl.socket"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount"),
    *("proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "run-lock.mount"),
    *("systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *(
        "systemd-tmpfiles-clean.timer",
        "systemd-tpm2-setup.service",
        "systemd-tpm2-setup-early.service",
    ),
)
# Interfaces and the packet filter; announcements; low ports; to enter the traffic namespace; to end
# haproxy and to take rights from it. As `drivers/compute/namespaces/amphora-init.sh`.
RIGHTS: Final = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_ADMIN CAP_SETPCAP"

GUEST_UNIT: Final = """\
[Unit]
Description=Colonnade: what this amphora is born with
ConditionPathExists=!{namespace}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -I -m colonnade.agent.guest
StandardError=journal+console
"""
# haproxy goes on when the agent ends, and an agent that ends is back at once: it is missed within
# seconds. One that ends again and again waits a second.
AGENT_UNIT: Final = """\
[Unit]
Description=Colonnade: the agent of this amphora
Requires=colonnade-guest.service
After=colonnade-guest.service
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 -I -m colonnade.agent
KillMode=process
Restart=always
RestartSec=100ms
RestartMaxDelaySec=1s
RestartSteps=4
NoNewPrivileges=yes
CapabilityBoundingSet={rights}
DevicePolicy=closed
LimitNOFILE=1048576
TasksMax=infinity
OOMPolicy=continue
StandardError=journal+console

[Install]
WantedBy=multi-user.target
"""
KERNEL: Final = """\
# In a user namespace a process without rights would have them again.
user.max_user_namespaces = 0
kernel.panic = 10
kernel.panic_on_oops = 1
fs.suid_dumpable = 0
kernel.core_pattern = |/bin/false
"""
JOURNAL: Final = f"""\
[Journal]
Storage=volatile
RuntimeMaxUse={JOURNAL_MAX}
RateLimitIntervalSec=10s
RateLimitBurst=2000
"""


def files(version: str) -> Mapping[str, str]:
    """Each file of the root with its text."""
    return {
        MARK: f"{version}\n",
        "etc/hostname": "amphora\n",
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "etc/fstab": "",
        "etc/sysctl.d/60-colonnade.conf": KERNEL,
        "etc/systemd/journald.conf.d/60-colonnade.conf": JOURNAL,
        f"{UNITS}/colonnade-guest.service": GUEST_UNIT.format(namespace=paths.TRAFFIC_NAMESPACE),
        f"{UNITS}/colonnade-agent.service": AGENT_UNIT.format(rights=RIGHTS),
    }


def links() -> Mapping[str, str]:
    """Each symbolic link with what it leads to."""
    return {
        "etc/resolv.conf": "/run/resolv.conf",
        f"{UNITS}/multi-user.target.wants/colonnade-agent.service": "../colonnade-agent.service",
        f"{UNITS}/default.target": "/usr/lib/systemd/system/multi-user.target",
        **{f"{UNITS}/{name}": "/dev/null" for name in MASKED},
    }
