# SPDX-License-Identifier: Apache-2.0
"""The image of an amphora boots and serves, and a real Glance keeps it as it was sent."""

import json
import subprocess
from pathlib import Path
from typing import Any

from colonnade.drivers.openstack.images import Publication, publish
from colonnade.drivers.openstack.session import Session
from tests.openstack.amphora_image import COLONNADE, built


def test_a_guest_of_the_image_beats_and_serves_through_its_vip() -> None:
    done = subprocess.run(
        [*COLONNADE, "check", "--json", str(built())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["heartbeat_s"] < outcome["serving_s"]
    assert tuple(map(int, outcome["haproxy"].split(".")[:2])) >= (2, 8)


async def test_the_image_has_a_bill_of_what_is_in_it() -> None:
    file = built()
    bill = json.loads(file.with_name(f"{file.name}.spdx.json").read_text())
    names = {one["name"] for one in bill["packages"]}
    assert {"colonnade", "haproxy", "keepalived", "nftables", "systemd", "aiohttp"} <= names
    assert "openssh-server" not in names


async def test_a_real_glance_has_it_once_whole_and_tagged(
    session: Session, image_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "amphora.raw"
    file.write_bytes(disk())
    wish = Publication(file=file, name="of a test", tag="of-a-test")
    image, *_ = await publish(session, wish)
    shown = (await session.ask("GET", f"{image_url}/v2/images/{image}")).read(dict[str, Any])
    assert (shown["status"], shown["size"], shown["tags"]) == (
        "active", file.stat().st_size, ["of-a-test"],
    )  # fmt: skip
    assert shown["hw_firmware_type"] == "bios"
    again, said = await publish(session, wish)
    assert again == image
    assert "there already is" in said
    await publish(session, Publication(file=file, name="of a test", tag="canary"))
    listed = await session.ask("GET", f"{image_url}/v2/images?tag=canary&tag=of-a-test")
    assert [one["id"] for one in listed.within("images", list[dict[str, Any]])] == [image]


def disk() -> bytes:
    """A small one of the same make: Glance looks into what it is given."""
    entry = b"\x80\xfe\xff\xff\x83\xfe\xff\xff" + (2048).to_bytes(4, "little") + b"\0\x08\0\0"
    return bytes(440) + b"sign\0\0" + entry + bytes(48) + b"\x55\xaa" + bytes(2 * 1024 * 1024 - 512)
