# SPDX-License-Identifier: Apache-2.0
"""A provisioning status is an answer about generations, and no state that could be stuck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.domain.status import Applied, Operating, Provisioning, provisioning, summary

CASES = [
    # created, changed, deleted, lowest, settled, failed_at -> status
    (1, 1, False, 0, 0, None, Provisioning.PENDING_CREATE),
    (1, 1, False, 1, 1, None, Provisioning.ACTIVE),
    (1, 3, False, 2, 2, None, Provisioning.PENDING_UPDATE),
    (3, 3, False, 2, 2, None, Provisioning.PENDING_CREATE),
    (1, 1, False, 0, 1, None, Provisioning.PENDING_UPDATE),  # its amphora was lost
    (1, 3, True, 2, 2, None, Provisioning.PENDING_DELETE),
    (1, 3, False, 2, 2, 3, Provisioning.ERROR),
    (1, 3, False, 2, 2, 2, Provisioning.PENDING_UPDATE),  # what failed was an older wish
    (1, 3, False, 3, 3, 3, Provisioning.ACTIVE),  # it failed, and then it worked
    (1, 3, True, 2, 2, 3, Provisioning.ERROR),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_status_is_computed_from_what_is_wished_and_what_is_served(
    case: tuple[int, int, bool, int, int, int | None, Provisioning],
) -> None:
    created, changed, deleted, lowest, settled, failed_at, status = case
    applied = Applied(lowest=lowest, highest_settled=settled, failed_at=failed_at)
    assert status is provisioning(
        created=created, changed=changed, deleted=deleted, applied=applied
    )


@given(st.integers(1, 9), st.integers(0, 9), st.booleans(), st.none() | st.integers(1, 9))
def test_what_is_served_everywhere_is_never_pending(
    created: int, later: int, deleted: bool, failed_at: int | None
) -> None:
    changed = created + later
    applied = Applied(lowest=changed, highest_settled=changed, failed_at=failed_at)
    status = provisioning(created=created, changed=changed, deleted=deleted, applied=applied)
    assert status is (Provisioning.PENDING_DELETE if deleted else Provisioning.ACTIVE)


@pytest.mark.parametrize(
    ("children", "parent"),
    [
        ([], Operating.OFFLINE),
        ([Operating.OFFLINE], Operating.OFFLINE),
        ([Operating.ONLINE, Operating.OFFLINE], Operating.ONLINE),
        ([Operating.NO_MONITOR], Operating.ONLINE),
        ([Operating.ERROR], Operating.ERROR),
        ([Operating.ERROR, Operating.ONLINE], Operating.DEGRADED),
        ([Operating.ERROR, Operating.DRAINING], Operating.DEGRADED),
        ([Operating.DEGRADED, Operating.ONLINE], Operating.DEGRADED),
    ],
    ids=str,
)
def test_a_parent_sums_up_its_children(children: list[Operating], parent: Operating) -> None:
    assert summary(children) is parent
