# SPDX-License-Identifier: Apache-2.0
"""What one does with webhooks, beside what every noun has."""

from typing import Annotated, Any, Final

import typer

from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.cli.waiting import until
from colonnade.domain.errors import Broken

Webhook = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=names_of("webhook"), help="The webhook.",
        show_default=False,
    ),
]  # fmt: skip
WITHIN_S: Final = 60.0


async def webhook_test(session: Session, webhook: Webhook) -> None:
    """Send a webhook a message of no events, and show what became of it."""
    webhook_id = await session.id("webhook", webhook)
    path = f"lbaas/webhooks/{webhook_id}"
    message = (await session.rest.post(f"{path}/test", {}))["id"]
    found: dict[str, Any] = {}

    async def is_tried() -> bool:
        latest = (await session.rest.get(path))["webhook"]["sending"]["deliveries"]
        found.update(next((one for one in latest if one["id"] == message), {}))
        return bool(found)

    await until(is_tried, within_s=WITHIN_S, what="the message to be sent")
    if session.as_json:
        session.printer.json(found)
    elif found["delivered"]:
        session.printer.said(f"webhook {webhook} took it: {found['status']}, {found['ms']} ms")
    if not found["delivered"]:
        raise Broken(f"webhook {webhook}: {found['failure']}")
