# SPDX-License-Identifier: Apache-2.0
"""Another flavor for a load balancer that exists: an extra beyond the contract.

What cannot be is refused before anything changes: what a flavor or its provider has against it is
asked here, what the tree has against the flavor's limits is asked as it is written. How its
amphorae become what the flavor says is the controllers' work.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from colonnade.api.http.call import Call
from colonnade.api.http.decoding import Body, set_fields
from colonnade.api.user.placing import size_of
from colonnade.domain.catalogue import NO_ID, Sizing
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import FlavorId
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.store.trees.edits import Edit

NAME = "flavor_id"


class Reflavored(msgspec.Struct, frozen=True):
    """The flavor that it shall have, and what that makes of it. None: it has no flavor then."""

    flavor_id: FlavorId | None
    size: Sizing

    def change(self, edit: Edit) -> None:
        edit.tree = replace(edit.tree, flavor_id=self.flavor_id)
        edit.size = self.size


def check_said(body: Body) -> None:
    """Raises Invalid for null: the contract's own PUT has no such attribute."""
    if set_fields(body).get(NAME, NO_ID) is None:
        raise Invalid(
            f"Unknown attribute for argument loadbalancer: {NAME}: null. To change it, name a "
            f"flavor; {NO_ID} stands for none.",
            field=NAME,
        )


async def reflavored(call: Call, root_id: str, body: Body) -> Reflavored | None:
    """What the flavor that the body names makes of the load balancer; None: it names none, or the
    one that it has. Raises Invalid for one that is not there, not enabled or of another provider,
    Incompatible for what the provider cannot serve, and OutOfCapacity when there is no room."""
    named: Any = body.said(NAME)
    if named is None:
        return None
    flavor_id = None if str(named) == NO_ID else FlavorId(str(named))
    tree = (await call.look(LOAD_BALANCERS, root_id)).tree
    if flavor_id == tree.flavor_id:
        return None
    size = await size_of(call, tree.provider, flavor_id)
    await call.site.providers.get(tree.provider).check_size(tree.vips, size)
    return Reflavored(flavor_id, size)
