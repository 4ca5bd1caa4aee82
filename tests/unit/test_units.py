# SPDX-License-Identifier: Apache-2.0
"""What the units of systemd let each process do, and which of them touch the lab."""

import fnmatch
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path

import msgspec
import pytest

from colonnade.cli.installation.layout import Layout
from colonnade.cli.installation.units import IN_CONTROL, LAB, Options, metrics_ports, unit_files
from colonnade.cli.local.offices import NETWORK_RIGHTS
from colonnade.runtime.config import OFFICES_OF_METRICS, Config, Metrics, Neutron
from colonnade.runtime.host_ids import OFFICES

STATE = Path("/srv/100% of it/colonnade")
LAYOUT = Layout(state=STATE)
CONFIG = Config(
    state_dir=STATE, run_dir=LAYOUT.run_dir, database_url="", metrics=Metrics(port=9877)
)


FAR = msgspec.structs.replace(CONFIG, database_url="host=db1.example,db2.example port=6000")
IN_LAB = ("colonnade-controller.service", "colonnade-health.service")


def units(options: Options | None = None, config: Config = CONFIG) -> Mapping[str, RawConfigParser]:
    found = {}
    for name, text in unit_files(LAYOUT, config, options or Options()).items():
        found[name] = RawConfigParser(strict=False, interpolation=None)
        found[name].optionxform = str  # type: ignore[assignment, method-assign]
        found[name].read_string(text)
    return found


def test_each_process_has_a_unit_and_each_office_an_account() -> None:
    found = units()
    for name in OFFICES_OF_METRICS:
        assert found[f"colonnade-{name}.service"]["Service"]["Type"] == "notify"
        assert int(found[f"colonnade-{name}.service"]["Service"]["WatchdogSec"]) > 0
    users = {
        unit["Service"]["User"] for unit in found.values() if unit.has_option("Service", "User")
    }
    assert users == {f"colonnade-{office}" for office in OFFICES if office != "relay"}


def test_nothing_but_the_network_daemon_and_what_it_enters_has_rights_over_the_machine() -> None:
    rights = {
        name: unit["Service"]["CapabilityBoundingSet"].split()
        for name, unit in units().items()
        if unit.has_section("Service")
    }
    assert {name for name, found in rights.items() if found} == {
        LAB, "colonnade-network.service", "colonnade-renew.service",
    }  # fmt: skip
    nine = {f"CAP_{name.upper()}" for name in NETWORK_RIGHTS}
    assert set(rights["colonnade-network.service"]) - nine == {"CAP_SYS_CHROOT"}
    assert not set(rights["colonnade-renew.service"]) & (nine - {"CAP_CHOWN"})


def test_no_other_unit_takes_the_lab_along_when_it_stops() -> None:
    found = units()
    assert not fnmatch.fnmatch(LAB, "colonnade-*")
    assert not {"Requires", "BindsTo", "PartOf", "Conflicts"} & set(found[LAB]["Unit"])
    assert found[LAB]["Service"]["Delegate"] == "yes"


def test_without_the_embedded_database_nothing_waits_for_it() -> None:
    texts = unit_files(LAYOUT, CONFIG, Options(has_database=False))
    assert not any("colonnade-database" in text for text in texts.values())


def test_a_database_elsewhere_is_reached_from_the_lab_by_the_relay_alone() -> None:
    """Which leads to its servers, and can read nothing that is anybody's."""
    found = units(Options(has_database=False), FAR)
    relay = found["colonnade-relay.service"]["Service"]
    assert relay["ExecStart"].endswith(" relay db1.example:6000 db2.example:6000")
    assert relay["User"] == "colonnade-relay"
    assert "SupplementaryGroups" not in relay
    place = found["colonnade.relay.socket"]["Socket"]["ListenSequentialPacket"]
    texts = unit_files(LAYOUT, FAR, Options(has_database=False))
    assert {name for name, text in texts.items() if f"COLONNADE_RELAY={place}" in text} == {*IN_LAB}
    assert not any("relay" in text for text in unit_files(LAYOUT, CONFIG, Options()).values())


def test_with_amphorae_of_a_cloud_nothing_has_rights_and_there_is_no_lab() -> None:
    cloud = msgspec.structs.replace(
        FAR, network_driver="neutron", compute_driver="nova", neutron=Neutron(lb_subnet="one")
    )
    found = units(Options(has_database=False), cloud)
    processes = {f"colonnade-{name}.service" for name in ("api", "notifier", *IN_CONTROL)}
    renewal = {"colonnade-renew.service", "colonnade-renew.timer"}
    assert set(found) == processes | renewal | {"colonnade.target"}
    for name in processes:
        assert not {"NetworkNamespacePath", "Sockets"} & set(found[name]["Service"])
        assert not {"Requires", "BindsTo"} & set(found[name]["Unit"])
        assert found[name]["Service"]["CapabilityBoundingSet"] == ""
    assert set(metrics_ports(cloud)) == {"api", "controller", "health", "notifier"}


@pytest.mark.parametrize("is_wanted", [True, False])
def test_the_route_is_made_where_it_is_wanted(is_wanted: bool) -> None:
    command = units(Options(host_route=is_wanted))[LAB]["Service"]["ExecStart"]
    assert command.endswith(" --host-route") is is_wanted


def test_a_path_is_one_word_whatever_is_in_it() -> None:
    writable = units()["colonnade-database.service"]["Service"]["ReadWritePaths"]
    assert writable == '"/srv/100%% of it/colonnade/postgres"'
