# SPDX-License-Identifier: Apache-2.0
"""What is kept of amphorae on disk, without any amphora: files, who may read them, their end."""

from pathlib import Path

import pytest

from colonnade.domain.ids import AmphoraId, PortId, new_id
from colonnade.drivers.compute.namespaces.kept import Kept, seats_of
from colonnade.drivers.compute.protocol import Boot
from colonnade.protocol import paths

BOOT = Boot(
    amphora_id=AmphoraId(new_id()),
    lb_port_id=PortId(new_id()),
    config_drive={"config/agent.json": "{}", paths.KEPT: "what it served"},
)


def loaded(folder: Path, *, is_wanted: bool = True) -> Kept:
    kept = Kept(folder, is_wanted=is_wanted)
    kept.load()
    return kept


async def test_what_is_kept_is_found_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "amphorae"
    await loaded(folder).begin(BOOT)
    again = loaded(folder)
    assert again.ids == {BOOT.amphora_id}
    assert again.read(BOOT.amphora_id) == BOOT
    assert seats_of(BOOT) == []
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600]


async def test_nothing_is_kept_of_one_that_is_forgotten(tmp_path: Path) -> None:
    kept = loaded(tmp_path / "amphorae")
    await kept.begin(BOOT)
    for _ in range(2):
        await kept.forget(BOOT.amphora_id)
        assert list((tmp_path / "amphorae").iterdir()) == []
    assert kept.ids == loaded(tmp_path / "amphorae").ids == set()


@pytest.mark.parametrize("text", ["", "torn {", '{"amphora_id": 7}'])
async def test_a_file_that_cannot_be_read_is_no_amphora_to_start(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{BOOT.amphora_id}.json").write_text(text)
    (tmp_path / "half.json.new").write_text("written half when the power went")
    kept = loaded(tmp_path)
    # It is known, so that its end can be asked for.
    assert kept.ids == {BOOT.amphora_id}
    assert kept.read(BOOT.amphora_id) is None
    await kept.forget(BOOT.amphora_id)
    assert list(tmp_path.iterdir()) == []


async def test_where_it_is_not_wanted_no_key_is_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "amphorae"
    await loaded(folder).begin(BOOT)
    without = loaded(folder, is_wanted=False)
    assert not folder.exists()
    await without.begin(BOOT)
    assert not folder.exists()
    assert without.ids == set()


async def test_a_disk_without_room_keeps_nobody_from_serving(tmp_path: Path) -> None:
    kept = loaded(tmp_path / "amphorae")
    (tmp_path / "amphorae").rmdir()
    (tmp_path / "amphorae").write_text("no folder")
    await kept.begin(BOOT)
    assert (tmp_path / "amphorae").read_text() == "no folder"
