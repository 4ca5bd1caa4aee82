# SPDX-License-Identifier: Apache-2.0
"""Where things are on an amphora. The renderer names them in haproxy's file, the agent makes them.

All lie on a tmpfs of the amphora's own. An amphora writes to no disk; what its compute driver may
keep of these files, for after a boot of the machine, is named here too.
"""

ROOT = "/run/colonnade"
CONFIG_DRIVE = f"{ROOT}/config"  # the files that the amphora was born with
TRAFFIC_NAMESPACE = "/run/netns/traffic"  # interfaces that carry user traffic live there
HAPROXY_SOCKET = f"{ROOT}/haproxy.sock"  # the runtime API, level admin
HAPROXY_LOG_SOCKET = f"{ROOT}/log.sock"  # datagrams: haproxy -> agent
HAPROXY_ACCESS_SOCKET = f"{ROOT}/access.sock"  # datagrams: a line of an access log each
ACCESS_LOGS = f"{ROOT}/logs"  # the spool
HAPROXY_PEERS_SOCKET = f"{ROOT}/peers.sock"  # from an old worker to the new one: stick tables
SERVER_STATE = f"{ROOT}/servers.state"
FILES = f"{ROOT}/files"  # error pages, maps: `Bundle.files`
SECRETS = f"{ROOT}/secrets"  # certificates with their keys, CAs, CRLs: `Bundle.secrets`

# Below `ROOT`: the bundle that is served, and the one that was served before a boot.
PRESENT = "present.json"
KEPT = "kept.json"
# What makes another copy of an amphora worth while, and what is copied along.
KEPT_WHEN_NEW = (PRESENT, "config/agent.json", "config/agent.pem", "config/ca.pem")
KEPT_ALONG = ("config/heartbeat.key", "counters.json", "sequence", "heard")
SEATS = "seats"  # below it a folder of each seat, in which the same files are
