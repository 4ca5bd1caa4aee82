# SPDX-License-Identifier: Apache-2.0
"""The client of our commands, with a token of Keystone that is always fresh."""

from typing import Any
from urllib.parse import urlencode

from colonnade.cli.rest import Query, Rest, refusal, words_of
from colonnade.drivers.openstack.session import Session


class CloudRest(Rest):
    """As `Rest`. The cloud's session is its maker's to close."""

    def __init__(self, endpoint: str, cloud: Session) -> None:
        super().__init__(endpoint)
        self._cloud = cloud

    async def _call(
        self, method: str, path: str, body: Any = None, query: Query | None = None
    ) -> Any:
        words = f"?{urlencode(query, doseq=True)}" if query else ""
        answer = await self._cloud.ask(method, f"{self._url(path)}{words}", body=body)
        if answer.status >= 400:
            raise refusal(answer.status, words_of(answer.body), f"{method} {path}")
        return answer.read(dict[str, Any]) if answer.body else None
