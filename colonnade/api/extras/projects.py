# SPDX-License-Identifier: Apache-2.0
"""Projects as Keystone shows them, for clients that look a project up before they name it.

Where there is no Keystone, projects are not kept anywhere: each name is one, and its own id.
"""

from typing import Any

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.identity.policy import KNOWN
from colonnade.api.resources.objects import wrapped
from colonnade.domain.errors import Invalid
from colonnade.domain.limits import PROJECT_ID_MAX


async def get_project(call: Call) -> JSON:
    project = call.places["project_id"]
    if len(project) > PROJECT_ID_MAX:
        raise Invalid(f"is at most {PROJECT_ID_MAX} long", field="project_id")
    return {"project": {"id": project, "name": project, "enabled": True, "domain_id": "default"}}


ROUTES = [
    Route(
        method="GET",
        path="/projects/{project_id:str}",
        handler=get_project,
        answers=wrapped("project", dict[str, Any]),
        rule=KNOWN,
        summary="Show a project",
    )
]
