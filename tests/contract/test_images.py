# SPDX-License-Identifier: Apache-2.0
"""What publishing an image promises, over Glance's wire. A real one is asked the same in
`tests/openstack/`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.domain.errors import Broken, Forbidden, Unavailable
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.images import Publication, publish
from colonnade.drivers.openstack.session import Session
from tests.fakes.clock import Time
from tests.fakes.glance import FakeGlance
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone


@pytest.fixture
async def glance() -> AsyncIterator[FakeGlance]:
    async with FakeKeystone(Time(1_800_000_000.0)).serving() as keystone:
        async with FakeGlance(keystone).serving() as made:
            yield made


@pytest.fixture
async def session(glance: FakeGlance) -> AsyncIterator[Session]:
    who = Credentials(auth_url=f"{glance.keystone.url}/v3", username=USER, secret=PASSWORD)
    made = Session(who, timeout_s=30.0, clock=glance.keystone.clock)
    yield made
    await made.close()


@pytest.fixture
def wish(tmp_path: Path) -> Publication:
    file = tmp_path / "amphora.raw"
    file.write_bytes(bytes(range(256)) * 4096)
    return Publication(file=file, name="amphora 1", tag="amphora")


async def test_an_image_is_there_once_with_its_tag(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    said = await publish(session, wish)
    (image,) = glance.images.values()
    assert (image["status"], image["size"], image["tags"]) == ("active", 2**20, ["amphora"])
    assert said[0] == image["id"]
    assert "there already is" in (await publish(session, wish))[1]
    assert len(glance.images) == 1


async def test_another_tag_is_given_to_the_image_that_is_there(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    await publish(session, wish)
    await publish(session, Publication(file=wish.file, name=wish.name, tag="canary"))
    (image,) = glance.images.values()
    assert image["tags"] == ["amphora", "canary"]


async def test_other_content_is_another_image(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    await publish(session, wish)
    wish.file.write_bytes(b"newer")
    await publish(session, wish)
    assert len(glance.images) == 2


async def test_an_upload_that_broke_off_is_made_whole_later(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    glance.lose = True
    with pytest.raises(Unavailable):
        await publish(session, wish)
    (image,) = glance.images.values()
    assert image["tags"] == []
    glance.lose = False
    await publish(session, wish)
    (image,) = glance.images.values()
    assert (image["status"], image["tags"]) == ("active", ["amphora"])


async def test_what_arrived_otherwise_than_it_was_sent_gets_no_tag(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    glance.spoil = True
    with pytest.raises(Broken, match="is not what was sent"):
        await publish(session, wish)
    (image,) = glance.images.values()
    assert image["tags"] == []


async def test_an_image_on_its_way_is_waited_for(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    await publish(session, wish)
    (image,) = glance.images.values()
    image |= {"status": "saving", "tags": []}
    with pytest.raises(Unavailable, match="is saving"):
        await publish(session, wish)


async def test_who_may_not_publish_is_told(
    session: Session, glance: FakeGlance, wish: Publication
) -> None:
    glance.forbid = True
    with pytest.raises(Forbidden, match="a role is missing"):
        await publish(session, wish)
