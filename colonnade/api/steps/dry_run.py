# SPDX-License-Identifier: Apache-2.0
"""`?dry_run=true`: a write to a tree is carried out, described, and undone.

It is validated, its provider objects, quotas are counted, rows are written, and then the
transaction ends as if nothing had been. So what it says is what the request would do. No VIP is
taken, no key is used up. A write that is not to a tree cannot be tried, and is refused.
"""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.api.extras.history import change
from colonnade.api.http.answers import Answer, Within
from colonnade.api.http.call import Call, Route
from colonnade.api.http.lists import Shown
from colonnade.domain.errors import Invalid
from colonnade.domain.shape import OF_TYPE
from colonnade.providers.provider import Providers
from colonnade.store.requests.dry_run import DryRunResult
from colonnade.store.rows import history

WORD: Final = "dry_run"
_NOUNS: Final = frozenset(table.kind for table in OF_TYPE.values())
_ACTIONS: Final = frozenset({"post", "put", "delete", "put_tree", "rollback", "post_import"})


async def dry_run(route: Route, call: Call, within: Within) -> Answer:
    """The step. Raises Invalid for a write that cannot be tried."""
    if route.method == "GET" or WORD not in call.query:
        return await within(call)
    is_dry_run = call.flag(WORD)
    words = {name: values for name, values in call.query.items() if name != WORD}
    call = replace(call, query=words, is_dry_run=is_dry_run)
    if not is_dry_run:
        return await within(call)
    _, noun, action = route.rule.split(":")
    if noun not in _NOUNS or action not in _ACTIONS:
        raise Invalid("dry_run is for changes of load balancers and what is under them", field=WORD)
    try:
        await within(call)
    except DryRunResult as result:
        body = {WORD: _shown(result, call.site.providers)}
        return Answer(status=200, body=msgspec.json.encode(body))
    raise AssertionError(f"{route.method} {route.path} was carried out, though only tried")


def _shown(result: DryRunResult, providers: Providers) -> Shown:
    tree = result.after or result.before
    assert tree is not None, "a change has a tree before or after"
    preview = providers.get(tree.provider).preview(result.before, result.after)
    changes = history.changes(result.before, result.after, result.found)
    configuration: Any = preview if preview is None else msgspec.structs.asdict(preview)
    return {
        "provider": tree.provider,
        "changes": [change(one) for one in changes],
        "issues": result.issues,
        "configuration": configuration,
    }
