# SPDX-License-Identifier: Apache-2.0
"""Traffic in numbers, as they are counted by the endpoint, or watched as they grow."""

from typing import Annotated, Any, Final

import typer

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects import watching
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.tree_drawing import LoadBalancer

Watching = Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")]
Listener = Annotated[
    str,
    typer.Argument(
        metavar="NAME|ID", autocompletion=names_of("listener"), help="The listener.",
        show_default=False,
    ),
]  # fmt: skip
Amphora = Annotated[str, typer.Argument(metavar="ID", help="The amphora.", show_default=False)]
COLUMNS: Final = (
    Column("Listener", "listener_id"),
    Column("Active", "active_connections"),
    Column("Total", "total_connections"),
    Column("Bytes in", "bytes_in"),
    Column("Bytes out", "bytes_out"),
    Column("Errors", "request_errors"),
)


async def lb_stats(session: Session, load_balancer: LoadBalancer, watch: Watching = False) -> None:
    """Show connections, bytes and errors."""
    await _stats(
        session, f"lbaas/loadbalancers/{await session.id('lb', load_balancer)}/stats", watch
    )


async def listener_stats(session: Session, listener: Listener, watch: Watching = False) -> None:
    """Show connections, bytes and errors."""
    await _stats(session, f"lbaas/listeners/{await session.id('listener', listener)}/stats", watch)


async def amphora_stats(session: Session, amphora: Amphora, watch: Watching = False) -> None:
    """Show connections, bytes and errors of each listener on an amphora."""
    await _stats(session, f"octavia/amphorae/{await session.id('amphora', amphora)}/stats", watch)


async def _stats(session: Session, path: str, watch: bool) -> None:
    async def look() -> Any:
        return next(iter((await session.rest.get(path)).values()))

    def draw(found: Any) -> Any:
        if isinstance(found, list):
            return session.printer.table(found, COLUMNS)
        return session.printer.card(found, everything=True)

    if watch:
        await watching.watch(session, look, draw, until_settled=False)
    elif session.as_json:
        session.printer.json(await look())
    else:
        session.printer.show(draw(await look()))
