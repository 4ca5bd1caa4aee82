# SPDX-License-Identifier: Apache-2.0
"""Everything that Colonnade needs in a cloud, made in one go, as an administrator of the cloud.

It may be repeated: what is there stays as it is. Keystone is asked as whoever calls; all the rest
as the service itself, so that what is made is the service's own, and its rights are tried at once.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.cli.cloud.guests import GuestWish, have_flavor, have_image
from colonnade.cli.cloud.lb_network import LbNetwork, LbWish, have_lb_network
from colonnade.cli.cloud.service_user import ServiceUser, have_user
from colonnade.drivers.openstack.acts import Acts
from colonnade.drivers.openstack.catalog import Entry, register
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session

TIMEOUT_S: Final = 60.0
_CONFIGURATION: Final = """\
network_driver = "neutron"
compute_driver = "nova"

[api]
auth = "keystone"

[keystone]
auth_url = {auth_url}
username = {username}
project = {project}
secret_file = {secret_file}
region = {region}

[neutron]
lb_subnet = {lb_subnet}
interface = {interface}

[nova]
flavor = {flavor}
image_tag = {image_tag}
interface = {interface}

[lb_network]
address = {address}
"""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """`entry`: None leaves the catalog alone. `interface`: which address of the catalog is asked,
    now and by the configuration."""

    user: ServiceUser
    network: LbWish
    guests: GuestWish
    entry: Entry | None = None
    interface: str = "public"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`done`: each thing, in words. `lacking`: what a person must do before amphorae can boot.
    `configuration`: TOML; "" while it cannot be told. `commands`: that plug this machine in."""

    done: Sequence[str]
    changes: int
    dry_run: bool
    lacking: Sequence[str] = ()
    configuration: str = ""
    commands: Sequence[str] = ()
    address: str = ""
    subnet: str = ""


async def set_up(credentials: Credentials, wish: Wish, *, dry_run: bool) -> Outcome:
    """Raises Refused and its like, Broken, Unavailable; what was made until then stays, and the
    next goes on."""
    acts = Acts(pretend=dry_run)
    caller = Session(credentials, timeout_s=TIMEOUT_S)
    own: Session | None = None
    try:
        await have_user(caller, wish.user, acts)
        if not acts.changes or not dry_run:
            own = Session(wish.user.credentials(caller.auth_url), timeout_s=TIMEOUT_S)
        # Where it is only said that there will be this user, the caller looks.
        session, at = own or caller, wish.interface
        network = await have_lb_network(session, wish.network, acts, interface=at)
        await have_flavor(session, wish.guests, acts, interface=at)
        lacking = await have_image(session, wish.guests, acts, interface=at)
        if wish.entry is not None:
            await register(caller, wish.entry, acts)
    finally:
        await caller.close()
        if own is not None:
            await own.close()
    return Outcome(
        done=acts.said,
        changes=acts.changes,
        dry_run=dry_run,
        lacking=[lacking] if lacking else (),
        configuration=_configuration(wish, caller.auth_url, network) if network else "",
        commands=network.commands if network else (),
        address=network.address if network else "",
        subnet=network.subnet if network else "",
    )


def _configuration(wish: Wish, auth_url: str, network: LbNetwork) -> str:
    said = {
        "auth_url": auth_url, "username": wish.user.name, "project": wish.user.project,
        "secret_file": str(wish.user.secret_file.absolute()), "region": wish.user.region,
        "lb_subnet": network.subnet, "flavor": wish.guests.flavor, "image_tag": wish.guests.tag,
        "interface": wish.interface, "address": network.address,
    }  # fmt: skip
    # A string of JSON is one of TOML.
    quoted = {name: msgspec.json.encode(text).decode() for name, text in said.items()}
    return _CONFIGURATION.format(**quoted)
