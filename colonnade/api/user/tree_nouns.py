# SPDX-License-Identifier: Apache-2.0
"""The nouns below a load balancer as the API tells of them, and all of their routes."""

from typing import Final

from colonnade.api.http.call import Route
from colonnade.api.resources.objects import SAMPLE_ID
from colonnade.api.user import listeners, members
from colonnade.api.user.creating import create_listener, create_pool, delete_pool
from colonnade.api.user.tree_routes import TreeNoun, tree_routes
from colonnade.domain import shape
from colonnade.domain.flat import Verb

TREE_NOUNS: Final = (
    TreeNoun(
        noun=shape.LISTENERS,
        list=Verb("List listeners"),
        create=Verb(
            "Create a listener: a port of a load balancer's VIP",
            {
                "loadbalancer_id": SAMPLE_ID,
                "protocol": "HTTP",
                "protocol_port": 80,
                "name": "web",
            },
        ),
        show=Verb("Show a listener"),
        update=Verb("Change a listener", {"connection_limit": 1000}),
        delete=Verb("Delete a listener"),
        handlers={"create": create_listener},
    ),
    TreeNoun(
        noun=shape.POOLS,
        list=Verb("List pools"),
        create=Verb(
            "Create a pool, of a load balancer or as a listener's default",
            {
                "loadbalancer_id": SAMPLE_ID,
                "protocol": "HTTP",
                "lb_algorithm": "ROUND_ROBIN",
            },
        ),
        show=Verb("Show a pool"),
        update=Verb("Change a pool", {"lb_algorithm": "LEAST_CONNECTIONS"}),
        delete=Verb("Delete a pool with its members and its monitor"),
        handlers={"create": create_pool, "delete": delete_pool},
    ),
    TreeNoun(
        noun=shape.MEMBERS,
        list=Verb("List members"),
        create=Verb(
            "Add a member to a pool",
            {"address": "10.0.0.11", "protocol_port": 8080, "weight": 10},
        ),
        show=Verb("Show a member"),
        update=Verb("Change a member", {"weight": 0}),
        delete=Verb("Remove a member"),
    ),
    TreeNoun(
        noun=shape.HEALTH_MONITORS,
        list=Verb("List monitors"),
        create=Verb(
            "Create a health monitor for the members of a pool",
            {
                "pool_id": SAMPLE_ID,
                "type": "HTTP",
                "delay": 5,
                "timeout": 3,
                "max_retries": 2,
                "url_path": "/health",
            },
        ),
        show=Verb("Show a monitor"),
        update=Verb("Change a monitor", {"delay": 10}),
        delete=Verb("Delete a health monitor"),
    ),
    TreeNoun(
        noun=shape.L7POLICIES,
        list=Verb("List L7 policies"),
        create=Verb(
            "Create an L7 policy: what a listener does with requests that match",
            {
                "listener_id": SAMPLE_ID,
                "action": "REDIRECT_TO_URL",
                "redirect_url": "https://www.example.org/",
            },
        ),
        show=Verb("Show an L7 policy"),
        update=Verb("Change an L7 policy", {"position": 1}),
        delete=Verb("Delete an L7 policy with its rules"),
    ),
    TreeNoun(
        noun=shape.L7RULES,
        list=Verb("List the rules of an L7 policy"),
        create=Verb(
            "Add a rule to an L7 policy",
            {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"},
        ),
        show=Verb("Show a rule"),
        update=Verb("Change a rule", {"invert": True}),
        delete=Verb("Remove a rule from an L7 policy"),
    ),
)
ROUTES: Final[tuple[Route, ...]] = (
    *(route for noun in TREE_NOUNS for route in tree_routes(noun)),
    *listeners.ROUTES,
    *members.ROUTES,
)
