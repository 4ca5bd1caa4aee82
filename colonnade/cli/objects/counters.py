# SPDX-License-Identifier: Apache-2.0
"""Traffic in numbers, as they are counted by the endpoint, or watched as they grow."""

from typing import Annotated, Any, Final

import typer

from colonnade.cli.nouns.description import Column
from colonnade.cli.objects import watching
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Desk
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


async def lb_stats(desk: Desk, load_balancer: LoadBalancer, watch: Watching = False) -> None:
    """Show connections, bytes and errors."""
    await _stats(desk, f"lbaas/loadbalancers/{await desk.id('lb', load_balancer)}/stats", watch)


async def listener_stats(desk: Desk, listener: Listener, watch: Watching = False) -> None:
    """Show connections, bytes and errors."""
    await _stats(desk, f"lbaas/listeners/{await desk.id('listener', listener)}/stats", watch)


async def amphora_stats(desk: Desk, amphora: Amphora, watch: Watching = False) -> None:
    """Show connections, bytes and errors of each listener on an amphora."""
    await _stats(desk, f"octavia/amphorae/{await desk.id('amphora', amphora)}/stats", watch)


async def _stats(desk: Desk, path: str, watch: bool) -> None:
    async def look() -> Any:
        return next(iter((await desk.rest.get(path)).values()))

    def draw(found: Any) -> Any:
        if isinstance(found, list):
            return desk.printer.table(found, COLUMNS)
        return desk.printer.card(found, everything=True)

    if watch:
        await watching.watch(desk, look, draw, until_settled=False)
    elif desk.as_json:
        desk.printer.json(await look())
    else:
        desk.printer.show(draw(await look()))
