# SPDX-License-Identifier: Apache-2.0
"""What a guest makes of its config drive, before its agent starts."""

import json
from pathlib import Path

import pytest

from colonnade.agent import guest
from colonnade.protocol import birth

AGENT = {
    "amphora_id": "7c2f6ad4-5b1b-4b53-9d7e-0b1c5f0a9e11",
    "lb_network_ip": "192.0.2.9",
    "lb_prefix_length": 24,
    "controllers": ["192.0.2.1:9442"],
    "receivers": ["192.0.2.1:5555"],
    "haproxy": "/opt/controller/haproxy",
}
FILES = {
    "agent.json": json.dumps(AGENT),
    "agent.pem": "pem",
    "ca.pem": "ca",
    "heartbeat.key": "00ff",
}
MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def drive(folder: Path, lb_mac: str = "", network_data: str | None = None) -> Path:
    files = folder / "openstack/latest"
    files.mkdir(parents=True)
    (files / "user_data").write_bytes(birth.encode(FILES, lb_mac))
    if network_data is not None:
        (files / "network_data.json").write_text(network_data)
    return folder


def network_data(*macs: str) -> str:
    return json.dumps(
        {
            "links": [
                {"id": "tap1", "type": "ovs", "ethernet_mac_address": mac, "mtu": 1442}
                for mac in macs
            ],
            "networks": [{"id": "network0", "type": "ipv4_dhcp", "link": "tap1"}],
            "services": [{"type": "dns", "address": "192.0.2.53"}],
        }
    )


def test_the_agent_gets_its_files_and_the_programs_of_the_guest(tmp_path: Path) -> None:
    born, _ = guest.read(drive(tmp_path / "drive"))
    guest.settle(born, tmp_path / "config")
    files = {path.name: path for path in (tmp_path / "config").iterdir()}
    config = json.loads(files["agent.json"].read_text())
    assert (config["haproxy"], config["keepalived"]) == (guest.HAPROXY, guest.KEEPALIVED)
    assert config["lb_network_ip"] == "192.0.2.9"
    assert files["agent.pem"].read_text() == "pem"
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}


@pytest.mark.parametrize(
    ("told", "said", "expected"),
    [
        ("", network_data(MAC), guest.Link(MAC, 1442)),
        ("", network_data(MAC, OTHER), guest.Link(MAC, 1442)),
        (OTHER.upper(), network_data(MAC, OTHER), guest.Link(OTHER, 1442)),
        (OTHER, network_data(MAC), guest.Link(OTHER)),
        (OTHER, None, guest.Link(OTHER)),
        ("", None, guest.Link()),
        ("", "not JSON", guest.Link()),
    ],
)
def test_the_interface_is_the_controllers_word_or_the_clouds(
    tmp_path: Path, told: str, said: str | None, expected: guest.Link
) -> None:
    assert guest.lb_link(*guest.read(drive(tmp_path, told, said))) == expected


def test_names_are_looked_up_where_the_cloud_says(tmp_path: Path) -> None:
    _, network = guest.read(drive(tmp_path, network_data=network_data(MAC)))
    assert guest.resolvers(network) == "nameserver 192.0.2.53\n"


def test_an_agent_s_file_that_cannot_be_read_is_refused_without_being_repeated(
    tmp_path: Path,
) -> None:
    born = birth.Birth(colonnade=1, files={**FILES, "agent.json": '{"amphora_id": 7, "key": "x"}'})
    with pytest.raises(guest.NotBorn, match=r"agent.json is not what an agent can read$"):
        guest.config_of(born)
