# SPDX-License-Identifier: Apache-2.0
"""Log targets over the API: what they take, what they never show, and who refers to them."""

from typing import Any

from colonnade.store.postgres.database import Database
from tests.contract.api_client import SEAL, Api, api

__all__ = ["api"]

SECRET = "wJalrXUtnFEMI/K7MDENG"
S3 = {
    "type": "S3",
    "url": "https://s3.example.org",
    "bucket": "logs",
    "credentials": {"access_key": "AKID", "secret_key": SECRET},
}
SWIFT = {
    "type": "SWIFT",
    "url": "https://swift.example.org/v1/AUTH_1",
    "bucket": "logs",
    "credentials": {"temp_url_key": SECRET},
}
SYSLOG = {"type": "SYSLOG", "url": "tls://logs.example.org:6514"}
OTLP = {
    "type": "OTLP",
    "url": "https://otlp.example.org/v1/logs",
    "credentials": {"Authorization": f"Bearer {SECRET}"},
}


async def made(api: Api, body: dict[str, Any], status: int = 201, **words: Any) -> Any:
    answer = await api.post("logtargets", {"logtarget": body}, status, **words)
    return answer["logtarget"] if status == 201 else answer


async def test_targets_of_every_type_are_made_shown_changed_listed_and_deleted(api: Api) -> None:
    for body in (S3, SWIFT, SYSLOG, OTLP):
        target = await made(api, {"name": body["type"], "prefix": "", **body})
        path = f"logtargets/{target['id']}"
        assert target["url"] == body["url"]
        assert target["has_credentials"] is ("credentials" in body)
        assert target["shipping"] == []
        assert (await api.get(path))["logtarget"] == target
        answer = await api.put(path, {"logtarget": {"description": "audit"}})
        assert answer["logtarget"]["description"] == "audit"
        assert answer["logtarget"]["has_credentials"] is ("credentials" in body)
        listed = (await api.get("logtargets", params={"type": body["type"]}))["logtargets"]
        assert [one["id"] for one in listed] == [target["id"]]
        assert SECRET not in str([target, answer, listed])
        await api.delete(path)
        await api.get(path, 404)


async def test_credentials_lie_sealed_and_do_not_go_to_another_place(
    api: Api, database: Database
) -> None:
    target = await made(api, S3)
    async with database.read() as connection:
        cursor = await connection.execute("SELECT t::text, credentials FROM log_targets t")
        row = await cursor.fetchone()
    assert row is not None
    assert SECRET not in row[0] and SECRET.encode().hex() not in row[0]
    assert SECRET.encode() in SEAL.unseal(bytes(row[1]), target["id"])
    path = f"logtargets/{target['id']}"
    elsewhere = {"url": "https://elsewhere.example.org"}
    await api.put(path, {"logtarget": elsewhere}, 400)
    both = elsewhere | {"credentials": {"access_key": "A", "secret_key": "B"}}
    assert (await api.put(path, {"logtarget": both}))["logtarget"]["url"] == elsewhere["url"]


WRONG = (
    S3 | {"url": "ftp://s3.example.org"},
    S3 | {"url": "https://user:word@s3.example.org"},
    S3 | {"url": "https://s3.example.org/?x=1"},
    S3 | {"url": "https://"},
    S3 | {"url": "http://127.0.0.1:9000"},
    S3 | {"url": "http://[::1]:9000"},
    S3 | {"url": "http://169.254.169.254"},
    S3 | {"url": "http://localhost"},
    S3 | {"url": "http://s3.example.org:99999"},
    S3 | {"url": "http://s3.example.org/\r\nx"},
    S3 | {"bucket": "a/b"},
    S3 | {"bucket": ""},
    S3 | {"prefix": "../up"},
    S3 | {"prefix": "/a"},
    S3 | {"region": "x y"},
    S3 | {"credentials": {}},
    S3 | {"credentials": {"access_key": "A", "secret_key": ""}},
    S3 | {"credentials": {"temp_url_key": "A"}},
    SYSLOG | {"bucket": "logs"},
    SYSLOG | {"url": "tcp://logs.example.org/path"},
    OTLP | {"credentials": {"Host": "x"}},
    OTLP | {"credentials": {"X-A": "a\r\nb"}},
    S3 | {"type": "FTP"},
    S3 | {"colour": "red"},
)


async def test_what_can_never_work_is_refused(api: Api) -> None:
    for wrong in WRONG:
        assert SECRET not in str(await made(api, wrong, 400))
    assert (await api.get("logtargets"))["logtargets"] == []


async def test_a_target_is_its_projects_own_and_stays_while_it_is_used(api: Api) -> None:
    mine, other = {"X-Project-Id": "mine"}, {"X-Project-Id": "other"}
    target = await made(api, S3, headers=mine)
    path = f"logtargets/{target['id']}"
    await api.get(path, 403, headers=other)
    await api.delete(path, 403, headers=other)
    assert (await api.get("logtargets", headers=other))["logtargets"] == []
    log: dict[str, Any] = {"access_log": {"target_id": target["id"]}}
    root = await api.load_balancer(project_id="mine")
    stranger = await api.load_balancer(project_id="other")
    await api.listener(stranger, 400, **log)
    await api.listener(root, 400, access_log={"target_id": root["id"]})
    listener = await api.listener(root, **log)
    assert listener["access_log"] == {"format": "JSON", "target_id": target["id"]}
    fault = await api.delete(path, 409)
    assert "in use" in fault["faultstring"]
    await api.put(f"listeners/{listener['id']}", {"listener": {"access_log": None}})
    await api.put(f"loadbalancers/{root['id']}", {"loadbalancer": log})
    await api.delete(path, 409)
    await api.put(f"loadbalancers/{stranger['id']}", {"loadbalancer": log}, 400)
    await api.delete(f"loadbalancers/{root['id']}?cascade=true")
    await api.delete(path)
