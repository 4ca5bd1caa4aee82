# SPDX-License-Identifier: Apache-2.0
"""A load balancer drawn as a tree: who listens, where requests go, and how each of them is."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer
from rich.text import Text
from rich.tree import Tree

from colonnade.cli.nouns.description import ID, STATUS
from colonnade.cli.nouns.index import OF_TREE
from colonnade.cli.objects import watching
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.full_tree import read_whole
from colonnade.cli.objects.printing import endpoint, moment, printable, status
from colonnade.cli.objects.session import Session
from colonnade.domain import shape
from colonnade.domain.fleet import Topology

LoadBalancer = Annotated[
    str,
    typer.Argument(
        metavar="NAME|ID", autocompletion=names_of("lb"), help="The load balancer.",
        show_default=False,
    ),
]  # fmt: skip
Watching = Annotated[bool, typer.Option("--watch", help="Refresh until it is settled.")]
_NOT_WORTH_SAYING: Final = frozenset({"ACTIVE"})
# Drawn by a function of their own.
_DRAWN: Final = frozenset(
    {
        shape.LISTENERS, shape.POOLS, shape.MEMBERS, shape.HEALTH_MONITORS, shape.L7POLICIES,
        shape.L7RULES,
    }
)  # fmt: skip

Shown = dict[str, Any]


async def lb_tree(session: Session, load_balancer: LoadBalancer, watch: Watching = False) -> None:
    """Show a load balancer and all under it as a tree, with statuses and addresses."""
    root_id = await session.id("lb", load_balancer)

    async def look() -> Shown:
        return await read_whole(session, root_id)

    if watch:
        await watching.watch(session, look, draw_whole, until_settled=True)
    elif session.as_json:
        session.printer.json(await look())
    else:
        session.printer.show(draw_whole(await look()))


async def lb_status(session: Session, load_balancer: LoadBalancer, watch: Watching = False) -> None:
    """Show the statuses of a load balancer and all under it."""
    root_id = await session.id("lb", load_balancer)

    async def look() -> Shown:
        answer = await session.rest.get(f"lbaas/loadbalancers/{root_id}/status")
        summed: Shown = answer["statuses"]
        if not session.as_json and _is_in_trouble(summed["loadbalancer"]):
            # The summary has the contract's keys alone; why, the objects themselves say.
            _explain(summed["loadbalancer"], await read_whole(session, root_id))
        return summed

    if watch:
        await watching.watch(session, look, _draw_statuses, until_settled=True)
    elif session.as_json:
        session.printer.json(await look())
    else:
        session.printer.show(_draw_statuses(await look()))


def draw_whole(root: Shown) -> Tree:
    topology = str(root.get("topology") or "")
    enters = [str(root.get("vip_address") or ""), topology if topology != Topology.SINGLE else ""]
    drawn = Tree(_line(root, [_called(root), *enters]))
    pools = {pool["id"]: pool for pool in root["pools"]}
    used: set[str] = set()
    for listener in root["listeners"]:
        place = f"{listener.get('protocol')} :{listener.get('protocol_port')}"
        branch = drawn.add(_line(listener, ["listener", _called(listener), place]))
        _why(branch, listener)
        _others(branch, shape.LISTENERS, listener)
        for policy in listener.get("l7policies") or ():
            used |= _policy(branch, policy, pools)
        if (default := listener.get("default_pool_id")) in pools:
            used.add(default)
            _pool(branch, pools[default])
    for pool_id, pool in pools.items():
        if pool_id not in used:
            _pool(drawn, pool)
    _others(drawn, shape.LOAD_BALANCERS, root)
    _reasons(drawn, root)
    return drawn


def _is_in_trouble(root: Shown) -> bool:
    return root.get("operating_status") in ("ERROR", "DEGRADED")


def _explain(summed: Shown, whole: Shown) -> None:
    """Put the reasons of the objects beside their statuses."""
    parts = [whole, *whole["listeners"], *whole["pools"]]
    parts += [member for pool in whole["pools"] for member in pool["members"]]
    reasons = {one["id"]: one.get("operating_status_reason") for one in parts}

    def put(shown: Shown) -> None:
        shown["operating_status_reason"] = reasons.get(shown.get("id"))
        for word in ("listeners", "pools", "members"):
            for child in shown.get(word) or ():
                put(child)

    put(summed)


def _draw_statuses(summed: Shown) -> Tree:
    root = summed["loadbalancer"]
    drawn = Tree(_line(root, [_called(root)]))
    for listener in root.get("listeners") or ():
        branch = drawn.add(_line(listener, ["listener", _called(listener)]))
        _why(branch, listener)
        for pool in listener.get("pools") or ():
            _pool(branch, pool | {"healthmonitor": pool.get("health_monitor")})
    return drawn


def _policy(branch: Tree, policy: Shown, pools: dict[str, Shown]) -> set[str]:
    """The policy with its rules; which pools it leads to."""
    target = pools.get(policy.get("redirect_pool_id") or "")
    shares = [(one, pools.get(one["pool_id"], {})) for one in policy.get("redirect_pools") or ()]
    where = str(policy.get("redirect_url") or policy.get("redirect_prefix") or "")
    if target is not None:
        where = _called(target)
    elif shares:
        where = ", ".join(f"{_called(pool)} {one['weight']}" for one, pool in shares)
    words = ["policy", _called(policy), str(policy.get("action") or "")]
    twig = branch.add(_line(policy, [*words, f"-> {where}" if where else ""]))
    _others(twig, shape.L7POLICIES, policy)
    for rule in policy.get("rules") or ():
        if "type" in rule:
            twig.add(_line(rule, ["if", *_rule(rule)]))
    led_to = [pool for pool in (target, *(pool for _, pool in shares)) if pool]
    for pool in led_to:
        _pool(twig, pool)
    return {str(pool["id"]) for pool in led_to}


def _rule(rule: Shown) -> Iterable[str]:
    yield str(rule["type"])
    if rule.get("key"):
        yield str(rule["key"])
    yield f"{'not ' if rule.get('invert') else ''}{rule.get('compare_type')}"
    yield str(rule.get("value"))


def _pool(branch: Tree, pool: Shown) -> None:
    kind = " ".join(str(pool[one]) for one in ("protocol", "lb_algorithm") if pool.get(one))
    twig = branch.add(_line(pool, ["pool", _called(pool), kind]))
    if monitor := pool.get("healthmonitor"):
        twig.add(
            _line(
                monitor,
                ["health monitor", str(monitor.get("name") or ""), str(monitor.get("type"))],
            )
        )
    _others(twig, shape.POOLS, pool)
    for member in pool.get("members") or ():
        place = endpoint(member)
        weight = f"weight {member['weight']}" if member.get("weight", 1) != 1 else ""
        backup = "backup" if member.get("backup") else ""
        words = ["member", str(member.get("name") or ""), place, weight, backup]
        _why(twig.add(_line(member, words)), member)
    _reasons(twig, pool)


def _others(branch: Tree, noun: shape.Noun, shown: Shown) -> None:
    """What is below an object and has no drawing of its own: its columns."""
    for child in (one for one in noun.below if one not in _DRAWN and not one.alone):
        columns = [one for one in OF_TREE[child].columns if one not in (ID, STATUS)]
        for one in shown.get(child.word) or ():
            words = [child.words, *(str(one.get(column.of) or "") for column in columns)]
            _others(branch.add(_line(one, words)), child, one)


def _line(shown: Shown, words: list[str]) -> Text:
    """The words, then what there is to say about statuses."""
    line = Text(" ").join(
        Text(printable(word), style="bold" if place == 0 else "")
        for place, word in enumerate(word for word in words if word)
    )
    for name in ("provisioning_status", "operating_status"):
        word = str(shown.get(name) or "")
        if word and word not in _NOT_WORTH_SAYING:
            line.append("  ")
            line.append(status(word))
    if shown.get("admin_state_up") is False:
        line.append("  switched off", style="yellow")
    return line


def _why(branch: Tree, shown: Shown) -> None:
    """What the last check, or the amphora, says of it."""
    reason = str(shown.get("operating_status_reason") or "")
    since = moment(shown.get("operating_status_since"))
    if reason:
        branch.add(Text(printable(f"! {reason}{f' (since {since})' if since else ''}"), "yellow"))


def _reasons(branch: Tree, shown: Shown) -> None:
    # What is wrong with members is said at each.
    told = str(shown.get("operating_status_reason") or "")
    for issue in shown.get("issues") or ():
        if told and shown.get("members") and str(issue).startswith(told):
            continue
        branch.add(Text(printable(f"! {issue}"), style="yellow"))


def _called(shown: Shown) -> str:
    return str(shown.get("name") or shown.get("id") or "")
