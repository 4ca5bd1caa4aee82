# SPDX-License-Identifier: Apache-2.0
"""Rules from an oslo.policy file, above those that are built in.

The file may name any rule of the API or any of the base rules that those rest on, so that files
written for Octavia do what they did there. It is read once: another file takes a restart. What it
says is remembered for each kind of caller, for asking oslo.policy costs more than most requests.
Roles and projects alone are known here, as the wire contract has it: no systems, no domains.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from colonnade.api.identity.caller import Caller
from colonnade.api.identity.rules import BASES, Base, bases
from colonnade.domain.errors import Broken
from colonnade.domain.ids import ProjectId

REMEMBERED_MAX: Final = 10_000
# No project has this name: what is allowed for its objects is allowed for everybody's.
ANYBODYS: Final = "\0"
OPERATOR: Final = "context_is_admin"
OWNER: Final = "load-balancer:owner"
# What no rule of ours rests on, but a file written for Octavia may.
OTHERS: Final[Mapping[str, str]] = {
    OPERATOR: "role:admin",
    OWNER: "project_id:%(project_id)s",
    "service": "role:service",
    "load-balancer:observer_and_owner": f"role:reader and rule:{OWNER}",
    "load-balancer:member_and_owner": f"role:member and rule:{OWNER}",
    "load-balancer:global_observer": "role:admin",
}


class PolicyFile:
    def __init__(self, path: Path) -> None:
        """Raises Broken when the file cannot be used as it stands, with the reason."""
        self._enforcer = _enforcer(path)
        self._rules = frozenset(self._enforcer.rules)
        self._decided = lru_cache(maxsize=REMEMBERED_MAX)(self._decide)

    def allows(self, rule: str, caller: Caller, owner: ProjectId | None) -> bool:
        return self._decided(rule, caller, owner)

    def has(self, rule: str) -> bool:
        return rule in self._rules

    def _decide(self, rule: str, caller: Caller, owner: ProjectId | None) -> bool:
        credentials: dict[str, Any] = {
            "roles": sorted(caller.roles),
            "project_id": caller.project,
            "tenant_id": caller.project,
            "user_id": caller.user,
        }
        target = {"project_id": owner if owner is not None else ANYBODYS}
        enforce = self._enforcer.enforce
        credentials["is_admin"] = bool(enforce(OPERATOR, {}, dict(credentials)))
        known = rule if rule in self._rules else "load-balancer:admin"
        return bool(enforce(known, target, credentials))


def _enforcer(path: Path) -> Any:
    try:
        from oslo_config import cfg  # both are large, and only this file needs them
        from oslo_policy import policy
    except ImportError as error:
        raise Broken("api.policy_file needs oslo.policy: install colonnade[policy]") from error
    if not path.is_file():
        raise Broken(f"the policy file {path} is not there")
    config = cfg.ConfigOpts()
    config([], default_config_files=[], default_config_dirs=[])
    enforcer = policy.Enforcer(config, policy_file=str(path))
    config.set_override("policy_dirs", [], group="oslo_policy")  # this file, and no other
    enforcer.suppress_deprecation_warnings = True
    enforcer.suppress_default_change_warnings = True
    for name, text in _defaults().items():
        enforcer.register_default(policy.RuleDefault(name, text))
    _check_shape(path, policy.parse_file_contents)
    _load(enforcer, path, policy.InvalidDefinitionError)
    enforcer.use_conf = False  # else each question looks whether the file has changed
    return enforcer


def _check_shape(path: Path, parse: Callable[[str], Any]) -> None:
    try:
        rules = parse(path.read_text())
    except (OSError, ValueError) as error:
        raise Broken(f"the policy file {path} cannot be read: {error}") from error
    if not isinstance(rules, dict) or not all(isinstance(text, str) for text in rules.values()):
        raise Broken(f"the policy file {path} must have a name and a text for each rule")


def _load(enforcer: Any, path: Path, undefined: type[Exception]) -> None:
    try:
        enforcer.load_rules(force_reload=True)
        enforcer.check_rules(raise_on_violation=True)
    except undefined as error:
        raise Broken(f"the policy file {path}: {error}") from error
    for name, written in enforcer.file_rules.items():
        # What oslo.policy cannot read it takes for "nobody", which would lock the operator out.
        if str(enforcer.rules[name]) == "!" and written.check_str.strip() != "!":
            raise Broken(f"the policy file {path}: cannot read the rule {name!r}")


def _defaults() -> dict[str, str]:
    """The built-in rules in oslo.policy's words, under the names that Octavia has for them."""
    found = dict(OTHERS)
    found |= {f"load-balancer:{base.name}": _text(base) for base in BASES}
    return found | {rule: f"rule:load-balancer:{base.name}" for rule, base in bases().items()}


def _text(base: Base) -> str:
    anybody = ["is_admin:True", *(f"role:{role}" for role in sorted(base.anybody - {"admin"}))]
    owners = [f"(role:{role} and rule:{OWNER})" for role in sorted(base.owners)]
    return " or ".join([*anybody, *owners])
