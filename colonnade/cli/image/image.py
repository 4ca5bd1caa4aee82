# SPDX-License-Identifier: Apache-2.0
"""`colonnade image`: the image that amphorae of a cloud are made of."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from colonnade.cli.image.trial import Outcome

Kvm = Annotated[bool, typer.Option("--kvm", help="Use the processor's own virtual machines.")]
image = typer.Typer(
    name="image", help="The image that amphorae of a cloud are made of.", no_args_is_help=True
)


@image.callback()
def _group() -> None:
    """Makes each command a word of its own."""


@image.command()
def build(
    output: Annotated[Path, typer.Option("--output", help="The file to write: a raw disk.")],
    wheel: Annotated[
        Path | None, typer.Option(help="Of the release to put in; else this one's.")
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(help="Of Debian, or a line of sources.list; repeat. Else mmdebstrap's own."),
    ] = None,
    package: Annotated[
        list[str] | None, typer.Option(help="A further package of Debian's; repeat.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
) -> None:
    """Build it: Debian, haproxy, keepalived, nftables and the agent, and a bill of materials."""
    from colonnade.cli.image import build as building

    wish = building.Wish(output=output, wheel=wheel, mirrors=mirror or (), packages=package or ())
    built = building.build(wish, _say)
    if as_json:
        print(msgspec.json.encode(built).decode())
        return
    print(
        f"{built.image}: {built.bytes / 1e6:.0f} MB, Colonnade {built.release}, Debian "
        f"{built.debian}, haproxy {built.haproxy}, {built.packages} packages\n"
        f"sha256 {built.sha256}\n"
        f"bill of materials: {built.bill}"
    )


@image.command()
def check(
    file: Annotated[Path, typer.Argument(help="An image that `build` has written.")],
    kvm: Kvm = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
) -> None:
    """Boot it under QEMU: heartbeat, bundle, and a request through its VIP."""
    outcome = _check(file, kvm)
    print(msgspec.json.encode(outcome).decode() if as_json else _words(outcome))


@image.command()
def publish(
    file: Annotated[Path, typer.Argument(help="An image that `build` has written.")],
    *,
    tag: Annotated[str, typer.Option("--tag", help="What new amphorae find it by.")] = "amphora",
    name: Annotated[str, typer.Option("--name", help="Of the image.")] = "",
    cloud: Annotated[str, typer.Option("--cloud", help="Of clouds.yaml; else what OS_* say.")] = "",
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not boot it first.")] = False,
    kvm: Kvm = False,
) -> None:
    """Boot it, and put it into the cloud's image service under a tag. May be repeated."""
    from colonnade.drivers.openstack.credentials import of_operator
    from colonnade.drivers.openstack.images import Publication, publish
    from colonnade.drivers.openstack.session import Session

    credentials = of_operator(cloud)
    if not unchecked:
        _say(_words(_check(file, kvm)))
    wish = Publication(file=file, name=name or file.stem, tag=tag)

    async def done() -> list[str]:
        session = Session(credentials)
        try:
            return await publish(session, wish)
        finally:
            await session.close()

    print("\n".join(asyncio.run(done())))


def _check(file: Path, kvm: bool) -> "Outcome":
    from colonnade.cli.image.trial import tried

    _say("booting it (a minute or two without --kvm)")
    return asyncio.run(tried(file, kvm=kvm))


def _words(outcome: "Outcome") -> str:
    return (
        f"Colonnade {outcome.agent} with haproxy {outcome.haproxy}: first heartbeat after "
        f"{outcome.heartbeat_s} s, serves through its VIP after {outcome.serving_s} s"
    )


def _say(words: str) -> None:
    print(f"image: {words}", file=sys.stderr)
