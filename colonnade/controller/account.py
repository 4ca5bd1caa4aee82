# SPDX-License-Identifier: Apache-2.0
"""What one pass over a key wanted, found and planned: for its sentence in the log.

Each pass is a task of its own with an account of its own, so a reconciler needs no parameter to
write into it. Nothing is decided by it.
"""

from contextvars import ContextVar
from typing import Final

import msgspec

from colonnade.controller.planning import Facts
from colonnade.domain.fleet import Cluster

PLANNED_MAX: Final = 12  # words; a long plan is cut


class Account(msgspec.Struct, kw_only=True):
    wanted: str = ""
    found: str = ""  # by the first look
    planned: list[str] = []

    def sentence(self, outcome: str) -> str:
        steps = ", then ".join(self.planned[:PLANNED_MAX])
        parts = [
            f"wanted {self.wanted}" if self.wanted else "",
            f"found {self.found}" if self.found else "",
            f"planned {steps}" if steps else "",
            outcome,
        ]
        return "; ".join(part for part in parts if part)


def in_words(wanted: Cluster, facts: Facts) -> tuple[str, str]:
    """Of a cluster: what is wanted, and what was found."""
    number = len(wanted.load_balancers)
    balancers = f"{number} load balancer{'s' * (number != 1)}"
    wish = "its end" if wanted.deleted else f"generation {wanted.generation} of {balancers}"
    there = [f"{a.id} {a.state.value} with generation {a.applied}" for a in facts.amphorae]
    return wish, " and ".join(there[:PLANNED_MAX]) or "no amphora"


_account: ContextVar[Account] = ContextVar("account")


def begin() -> Account:
    """That of the pass that this task takes."""
    account = Account()
    _account.set(account)
    return account


def looked(wanted: str, found: str) -> None:
    """The first look counts; what later ones find is what the pass has done."""
    account = _account.get(None)
    if account is not None and not account.wanted:
        account.wanted, account.found = wanted, found


def planned(*steps: str) -> None:
    """These steps are taken next, together."""
    account = _account.get(None)
    if account is not None and steps:
        account.planned.append(" and ".join(steps))
