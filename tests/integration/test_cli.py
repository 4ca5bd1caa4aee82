# SPDX-License-Identifier: Apache-2.0
"""The command line of the API's nouns, as a person uses it, against the real API on loopback.

A row is a command and a word of what it answers; the rows of a story follow one another. What is
not asked for here is asked for in tests/unit (documents) and in the API's own contract tests.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from colonnade.cli.objects.session import COMPLETION_S_MAX
from colonnade.cli.rest import Rest
from tests.certificates import made
from tests.contract.served import Colonnade, served
from tests.database import Databases
from tests.fakes.network import PRIVATE_SUBNET

MAIN = "from colonnade.cli.main import main; main()"
HM = "--type HTTP --delay 5 --timeout 3 --max-retries 2"

# What is typed, how it ends, what is in its answer (on standard error when it fails).
STORY: list[tuple[str, int, str]] = [
    ("lb create web --subnet private --json", 1, "did you mean private-subnet?"),
    ("lb create web --subnet private-subnet --tag a --tag b --wait", 0, "tags"),
    ("lb list", 0, "web"),
    ("lb list --tag b --where name=web --columns name,tags", 0, "a, b"),
    ("lb list --tag c", 0, "Name"),
    ("lb list --where nmae=1", 1, "'nmae' is not an attribute of load balancers (did you mean"),
    ("lb list --columns name,vip_adress", 1, "did you mean vip_address?); there are: access_log,"),
    ("lb list --sort nix:desc", 1, "'nix' is not an attribute of load balancers"),
    ("provider list --columns nix", 1, "there are: created_at, description"),
    ("lb list --columns name,created_at", 0, " UTC"),
    ("lb show web", 0, " UTC"),
    ("lb list --where nix", 1, "--where takes ATTRIBUTE=VALUE"),
    ("lb show web --all", 0, "vip_qos_policy_id"),
    ("lb show nix", 1, "there is no load balancer named 'nix'"),
    ("lb show 00000000-0000-0000-0000-000000000000", 1, "not found"),
    ("listener create web-80 --lb web --protocol http --port 80", 0, "protocol_port"),
    ("listener create web-80 --lb web --protocol http --port 80", 1, "is already using protocol"),
    ("listener set web-80 --insert-header X-Forwarded-For=true", 0, "insert_headers"),
    ("listener set web-80 --insert-header nix", 1, "--insert-header takes KEY=VALUE"),
    ("pool create app --listener web-80 --protocol HTTP --algorithm ROUND_ROBIN", 0, "app"),
    ("pool set app --session-persistence type=APP_COOKIE,cookie_name=c", 0, "changed pool app"),
    ("pool show app", 0, "type=APP_COOKIE, cookie_name=c"),
    ("pool set app --clear session-persistence", 0, "session_persistence"),
    ("pool set app --clear protocol", 1, "'protocol' cannot be cleared"),
    ("pool set app", 1, "say what to change"),
    ("pool list --lb web", 0, "ROUND_ROBIN"),
    ("listener list --lb web", 0, "app           web"),
    ("pool set app --algorithm SOURCE_IP --dry-run", 0, "~ pool app"),
    ("member create app m1 --address 10.0.0.11 --port 80 --wait", 0, "10.0.0.11"),
    ("member create app --address fd00::1 --port 80", 0, "fd00::1"),
    ("member list app", 0, "[fd00::1]:80"),
    ("member set app m1 --weight 3 --dry-run", 0, "~ member m1 of app"),
    ("lb history web", 0, "updated: member m1 added to pool app"),
    ("lb events web", 0, "UTC  load balancer web  updated"),
    ("member set app [fd00::1]:80 --weight 7 --backup", 0, "weight, backup"),
    ("member show app m1", 0, "10.0.0.11"),
    ("member delete app m1 --wait", 0, "deleted member m1"),
    ("member replace app 10.0.0.5:80 [::1]:90,weight=3,name=six --wait", 0, "[::1]:90"),
    ("member replace app 10.0.0.6:80 --add", 0, "10.0.0.5:80"),
    ("member replace app 10.0.0.6", 1, "a member is ADDRESS:PORT"),
    (f"hm create check --pool app {HM} --wait", 0, "max_retries_down"),
    ("hm set check --expected-codes 200-204 --name checked", 0, "changed health monitor checked"),
    ("hm list --pool app", 0, "checked"),
    ("l7 policy create no --listener web-80 --action REJECT", 0, "REJECT"),
    ("l7 rule create no --type PATH --compare STARTS_WITH --value /no --wait", 0, "STARTS_WITH"),
    ("l7 rule list no", 0, "/no"),
    ("l7 policy set no --position 1 --description d", 0, "changed L7 policy no"),
    ("l7 rule list web/web-80/no", 0, "/no"),
    ("pool show web/app", 0, "ROUND_ROBIN"),
    ("pool show nix/app", 1, "there is no load balancer named 'nix'"),
    ("hm show web/app/checked", 0, "max_retries"),
    ("lb tree web", 0, "if PATH STARTS_WITH /no"),
    ("lb tree web --watch", 0, "if PATH STARTS_WITH /no"),
    ("lb list --watch", 0, "web"),
    ("lb status web", 0, "member six [::1]:90"),
    ("lb stats web", 0, "total_connections"),
    ("listener stats web-80", 0, "bytes_in"),
    ("provider list", 0, "noop"),
    ("provider capabilities amphora", 0, "loadbalancer_topology"),
    ("flavorprofile create small --provider noop --data {}", 0, "flavor_data"),
    ("flavor create gold --profile small --description shiny", 0, "enabled"),
    ("admin reflavor web --flavor gold --dry-run", 0, "now SINGLE (flavor none)"),
    ("admin reflavor web --flavor gold --wait", 0, "SINGLE (flavor none) -> "),
    ("admin reflavor web --flavor none", 0, "-> SINGLE (flavor none); its VIPs stay"),
    ("admin reflavor web --flavor brass", 1, "there is no flavor named 'brass'"),
    ("flavor set gold --disable", 0, "changed flavor gold: enabled"),
    ("lb create other --subnet private-subnet --flavor gold", 1, ""),
    ("flavor delete gold", 0, "deleted flavor gold"),
    ("azprofile create hall --provider noop --data {}", 0, "hall"),
    ("az create one --profile hall", 0, "one"),
    ("az show one", 0, "availability_zone_profile_id"),
    ("az delete one", 0, "deleted availability zone one"),
    ("quota set p --lb 3", 0, "loadbalancer   3"),
    ("quota list", 0, "p "),
    ("quota show p", 0, "3"),
    ("quota reset p", 0, "default quota"),
    ("quota defaults", 0, "l7rule"),
    ("amphora list", 0, "Role"),
    ("admin fleet", 0, "no controller process runs"),
    ("admin lift --for 60", 0, "safe mode is off until"),
    ("admin upgrade start", 1, "No amphora that serves is outdated"),
    ("admin upgrade start --all --dry-run", 0, "would replace 0, in this order"),
    ("admin upgrade status", 1, "there was no upgrade yet"),
    ("admin upgrade list", 0, "Progress"),
    (
        "lb create two --subnet public-subnet --additional-vip public-subnet-v6=2001:db8:1::99",
        0, "2001:db8:1::99",
    ),
    ("export two", 0, "subnet: public-subnet-v6\n  ip_address: 2001:db8:1::99"),
    ("export two", 0, "\nvip_subnet: public-subnet\n"),
    ("lb delete two --wait", 0, "deleted load balancer two"),
    ("affinity create apart --policy apolocation", 0, "apolocation"),
    ("affinity create nix --policy nix", 2, "is not one of"),
    ("lb create grouped --subnet private-subnet --affinity-group apart", 0, "affinity_group_id"),
    ("affinity delete apart", 1, ""),
    ("lb delete grouped", 0, "grouped"),
    ("affinity delete apart", 0, "deleted affinity group apart"),
    ("logtarget create logs --type SYSLOG --to tls://logs.test:6514", 0, "tls://logs.test"),
    ("listener set web-80 --access-log target=logs", 0, "access_log"),
    ("lb set web --clear access-log --protect", 0, "deletion_protection"),
    ("lb delete web --cascade", 1, ""),
    ("lb set web --no-protect", 0, "deletion_protection"),
    ("subnet list", 0, "10.0.0.0/24"),
    ("lb delete web", 1, "it has children"),
    ("lb create web --subnet private-subnet", 0, "web"),
    ("lb delete web --cascade", 1, "'web' is the name of 2 load balancers"),
]  # fmt: skip


@pytest.fixture(scope="module")
def colonnade(databases: Databases) -> Iterator[Colonnade]:
    with databases.fresh() as url, served(url) as endpoint:
        yield Colonnade(endpoint)


def test_each_noun_can_be_listed_shown_made_changed_and_deleted(colonnade: Colonnade) -> None:
    for typed, code, answer in STORY:
        said = colonnade(*typed.split())
        assert said.code == code, (typed, said)
        assert answer in (said.err if code else said.out), (typed, said)
        assert "Traceback" not in said.err, (typed, said)
        assert not (code and said.out), (typed, said)  # errors are for standard error
        assert "\x1b" not in said.out, typed  # no colours in a pipe
    ids = [one["id"] for one in colonnade.json("lb", "list", "--where", "name=web")]
    assert len(ids) == 2
    for one in ids:
        assert colonnade.json("lb", "delete", one, "--cascade", "--wait") == {"deleted": one}
    assert colonnade.json("lb", "list") == []


WEB = """
kind: LoadBalancer
name: {name}
vip_subnet: private-subnet
listeners:
- name: {name}-80
  protocol: HTTP
  protocol_port: 80
  default_pool: {name}-app
  connection_limit: 100
  allowed_cidrs: [10.0.0.0/8]
  insert_headers: {{X-Forwarded-For: 'true'}}
  l7policies:
  - name: files
    action: REDIRECT_TO_POOL
    redirect_pool: {name}-files
    rules:
    - {{type: PATH, compare_type: STARTS_WITH, value: /static}}
    - {{type: HEADER, compare_type: EQUAL_TO, key: X-A, value: 1, invert: true}}
  - {{name: away, action: REDIRECT_TO_URL, redirect_url: 'https://example.test/', position: 2}}
pools:
- name: {name}-app
  protocol: HTTP
  lb_algorithm: ROUND_ROBIN
  session_persistence: {{type: HTTP_COOKIE}}
  members:
  - {{address: 10.0.0.11, protocol_port: 8080, name: web1, weight: 10}}
  - {{address: 10.0.0.12, protocol_port: 8080, subnet: private-subnet, backup: true}}
  healthmonitor: {{type: HTTP, delay: 5, timeout: 3, max_retries: 2, expected_codes: 200}}
- name: {name}-files
  protocol: HTTP
  lb_algorithm: LEAST_CONNECTIONS
"""


def test_a_file_is_applied_and_what_is_exported_is_no_different(
    colonnade: Colonnade, tmp_path: Path
) -> None:
    file, out = tmp_path / "web.yaml", tmp_path / "exported.yaml"
    file.write_text(WEB.format(name="one") + "---" + WEB.format(name="two"))
    assert colonnade("diff", "-f", str(file)).code == 1
    applied = colonnade.json("apply", "-f", str(file), "--wait")
    assert [one["done"] for one in applied] == ["created", "created"]
    assert colonnade("diff", "-f", str(file)).ok().out == ""
    again = colonnade.json("apply", "-f", str(file))
    assert [one["done"] for one in again] == ["nothing", "nothing"]

    out.write_text(colonnade("export", "one").ok().out)
    assert colonnade("diff", "-f", str(out)).ok().out == ""
    # Made anew from its export, under another name, it is the same again.
    text = out.read_text().replace("name: one\n", "name: three\n", 1)
    out.write_text("".join(x for x in text.splitlines(True) if "vip_address" not in x))
    assert [one["done"] for one in colonnade.json("apply", "-f", str(out))] == ["created"]
    exports = [colonnade.json("export", name) for name in ("one", "three")]
    for one in exports:
        del one["vip_address"], one["name"]
    assert exports[0] == exports[1]

    out.write_text(WEB.format(name="one").replace("weight: 10", "weight: 20"))
    differs = colonnade("diff", "-f", str(out))
    assert differs.code == 1
    assert "~     member 10.0.0.11:8080 (web1)\n~       weight: 10 -> 20\n" in differs.out
    before = colonnade.json("member", "show", "one/one-app", "web1")
    assert "one: changed" in colonnade("apply", "-f", str(out), "--wait").ok().out
    assert colonnade("diff", "-f", str(out)).ok().out == ""
    after = colonnade.json("member", "show", "one/one-app", "web1")
    assert (after["id"], after["weight"]) == (before["id"], 20)
    for name in ("one", "two", "three"):
        colonnade("lb", "delete", name, "--cascade").ok()


def test_a_mistake_in_a_file_is_told_with_its_line(colonnade: Colonnade, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    good = WEB.format(name="placed").lstrip()
    for wrong, right, says in (
        ("  protocl: HTTP", "  protocol: HTTP",
         "line 6: 'protocl' is not an attribute of a listener; did you mean protocol?"),
        ("private-subnte", "private-subnet", "line 3: there is no subnet named 'private-subnte'"),
        ("pool: placed-ap\n", "pool: placed-app\n", "line 8: default_pool is 'placed-ap', and no "
         "pool has that name; did you mean placed-app?"),
        ("weight: 1000", "weight: 10", "line 26: Invalid input for field/attribute weight"),
        ("{type: HTTP, ", "{type: HTTP, delay: 5, ", "line 28: delay is missing"),
    ):  # fmt: skip
        assert right in good
        file.write_text(good.replace(right, wrong, 1))
        said = colonnade("apply", "-f", str(file))
        assert said.code == 1, says
        assert said.err.startswith(f"colonnade: {file}"), said.err
        assert says in said.err, said.err
    assert colonnade.json("lb", "list", "--where", "name=placed") == []


def test_bad_documents_change_nothing(colonnade: Colonnade, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    good = WEB.format(name="good")
    for bad, says in (
        (good.replace("private-subnet", "nix", 1), "there is no subnet named 'nix'"),
        (good.replace("  protocol_port: 80\n", ""), "protocol_port is missing"),
        (good.replace("10.0.0.11", "nix"), "address"),
        (good, "two documents are about a load balancer named 'good'"),
    ):
        file.write_text(good + "---" + bad if bad == good else bad)
        said = colonnade("apply", "-f", str(file))
        assert said.code == 1, bad
        assert says in said.err
    assert colonnade.json("lb", "list", "--where", "name=good") == []


def test_lists_follow_pages_and_say_filters_again(colonnade: Colonnade) -> None:
    made = [
        colonnade.json("lb", "create", name, "--subnet", PRIVATE_SUBNET, "--tag", "paged")["id"]
        for name in ("p1", "p2", "p3")
    ]
    colonnade("lb", "create", "unpaged", "--subnet", PRIVATE_SUBNET).ok()
    listed = colonnade.json("lb", "list", "--tag", "paged", "--where", "limit=1")
    assert {one["id"] for one in listed} == set(made)
    for one in (*made, "unpaged"):
        colonnade("lb", "delete", one).ok()


def test_what_a_change_would_do_is_told_and_not_done(colonnade: Colonnade, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(WEB.format(name="dry"))
    assert "dry: would be created" in colonnade("apply", "-f", str(file), "--dry-run").ok().out
    assert colonnade.json("lb", "list", "--where", "name=dry") == []
    colonnade("apply", "-f", str(file)).ok()
    file.write_text(WEB.format(name="dry").replace("weight: 10", "weight: 20"))
    told = colonnade("apply", "-f", str(file), "--dry-run").ok().out
    assert "weight: 10 -> 20" in told
    for words, answer in (
        ("pool set dry/dry-app --algorithm SOURCE_IP", "lb_algorithm: ROUND_ROBIN -> SOURCE_IP"),
        ("member create dry/dry-app --address 10.0.0.9 --port 9", "+ member 10.0.0.9:9"),
        ("lb delete dry --cascade", "- listener dry-80"),
    ):
        assert answer in colonnade(*words.split(), "--dry-run").ok().out
    assert colonnade("diff", "-f", str(file)).out.count("\n") == 4  # still there, as it was
    colonnade("lb", "delete", "dry", "--cascade").ok()


def test_what_happened_is_listed_followed_and_undone(colonnade: Colonnade, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(WEB.format(name="past"))
    colonnade("apply", "-f", str(file)).ok()
    colonnade("pool", "set", "past/past-app", "--algorithm", "SOURCE_IP").ok()
    assert colonnade("diff", "-f", str(file)).code == 1
    history = colonnade.json("lb", "history", "past")
    assert [one["generation"] for one in history] == [2, 1]
    assert "in generation 1 again" in colonnade("lb", "rollback", "past", "1", "--wait").ok().out
    assert colonnade("diff", "-f", str(file)).ok().out == ""
    assert colonnade("lb", "rollback", "past", "77").code == 1

    events = colonnade.json("lb", "events", "past")
    assert events[0]["kind"] == "created"
    since = colonnade.json("lb", "events", "past", "--since", str(events[0]["id"]))
    assert since == events[1:]
    assert "UTC  load balancer past  " in colonnade("event", "list").ok().out
    first = str(events[0]["id"])
    words = ("lb", "events", "past", "--follow", "--json", "--since", first, "--url", colonnade.url)
    following = subprocess.Popen([sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE)
    try:
        assert following.stdout is not None
        followed = [msgspec.json.decode(following.stdout.readline()) for _ in events[1:]]
        assert followed == events[1:]
        colonnade("lb", "set", "past", "--description", "later").ok()
        later = msgspec.json.decode(following.stdout.readline())
        assert later["id"] > events[-1]["id"]
    finally:
        following.terminate()
        following.communicate()
    colonnade("lb", "delete", "past", "--cascade").ok()


def test_a_webhook_has_its_secret_from_a_file(colonnade: Colonnade, tmp_path: Path) -> None:
    secret = b64encode(bytes(range(32))).decode()
    (tmp_path / "secret").write_text(f"{secret}\n")
    words = ("--to", "https://hooks.test/x", "--kind", "failed,gone", "--about", "member")
    made = colonnade.json("webhook", "create", "w", *words, "--secret", str(tmp_path / "secret"))
    assert (made["kinds"], made["object_types"]) == (["failed", "gone"], ["member"])
    said = colonnade("webhook", "list").ok().out + colonnade("webhook", "show", "w").ok().out
    assert "https://hooks.test/x" in said and secret not in said
    changed = colonnade.json("webhook", "set", "w", "--no-enabled", "--clear", "kinds")
    assert (changed["enabled"], changed["kinds"], changed["status"]) == (False, [], "DISABLED")
    refused = colonnade("webhook", "create", "v", "--to", "http://127.0.0.1/", *words[2:])
    assert refused.code == 1 and "does not call" in refused.err
    colonnade("webhook", "delete", "w").ok()


def test_secrets_come_from_files_and_are_called_by_name(
    colonnade: Colonnade, tmp_path: Path
) -> None:
    made_up = made("web.test")
    for name, text in (("c.pem", made_up.public), ("k.pem", made_up.secret)):
        (tmp_path / name).write_text(text)
    certificate, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    secret = colonnade.json("secret", "create", "web-cert", certificate, key)
    assert secret["subject"] == "CN=web.test"
    refused = colonnade("secret", "create", "half", certificate)
    assert refused.code == 1
    said = colonnade("secret", "list").ok().out + refused.err
    assert made_up.secret.splitlines()[1] not in said
    colonnade("lb", "create", "tls", "--subnet", PRIVATE_SUBNET).ok()
    words = ("--lb", "tls", "--protocol", "TERMINATED_HTTPS", "--port", "443")
    listener = colonnade.json("listener", "create", "tls-443", *words, "--certificate", "web-cert")
    reference = listener["default_tls_container_ref"]
    assert secret["id"] in reference
    out = tmp_path / "tls.yaml"
    exported = colonnade("export", "tls").ok().out
    for one in (reference, "web-cert", secret["id"]):  # by URL, by name, by id
        out.write_text(exported.replace(reference, one))
        assert colonnade("diff", "-f", str(out)).ok().out == "", one
    assert colonnade("secret", "delete", "web-cert").code == 1  # it is in use
    colonnade("lb", "delete", "tls", "--cascade", "--wait").ok()
    colonnade("secret", "delete", "web-cert").ok()


def test_projects_see_their_own(colonnade: Colonnade) -> None:
    made = colonnade.json("lb", "create", "mine", "--subnet", PRIVATE_SUBNET, "--project", "p-one")
    assert made["project_id"] == "p-one"
    assert colonnade.json("lb", "list", "--project", "p-two") == []
    assert colonnade("lb", "show", made["id"], "--project", "p-two").code == 1
    colonnade("lb", "delete", "mine", "--project", "p-one").ok()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("nix", "cannot be reached"),
        ("http://[", "cannot be reached"),
    ],
)
def test_an_endpoint_that_is_not_there_is_said_in_a_sentence(url: str, says: str) -> None:
    said = Colonnade(url)("lb", "list")
    assert said.code == 1
    assert says in said.err
    assert len(said.err.splitlines()) == 1


# One process asks for all of them, as a shell would for each.
COMPLETING = """
import os, sys, time
from colonnade.cli.main import main
class Busy:  # a machine on which a library takes so long to load
    def find_spec(name, path=None, target=None):
        deadline = time.monotonic() + ({load_s} if name == "aiohttp" else 0)
        while time.monotonic() < deadline:
            pass
sys.meta_path.insert(0, Busy)
for line in sys.stdin:
    url, *words = line.split()
    os.environ |= {"COLONNADE_URL": url, "_COLONNADE_COMPLETE": "complete_bash"}
    os.environ |= {"COMP_WORDS": " ".join(["colonnade", *words]), "COMP_CWORD": str(len(words))}
    sys.argv = ["colonnade"]
    try:
        main()
    except SystemExit:
        print("--", flush=True)
"""


def completed(lines: list[str], load_s: float = 0.0) -> list[list[str]]:
    """What a shell would offer for the last word of each line; the first is the endpoint."""
    done = subprocess.run(
        [sys.executable, "-c", COMPLETING.replace("{load_s}", str(load_s))],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return [offer.split() for offer in done.stdout.split("--\n")[:-1]]


def test_the_shell_is_offered_commands_and_names(colonnade: Colonnade) -> None:
    lb = colonnade.json("lb", "create", "offered", "--subnet", PRIVATE_SUBNET)
    words = ("--lb", "offered", "--protocol", "HTTP", "--algorithm", "ROUND_ROBIN")
    colonnade("pool", "create", "offered-pool", *words).ok()
    at = ("--address", "10.0.0.1", "--port", "80")
    colonnade("member", "create", "offered-pool", "offered-member", *at).ok()
    offers = {
        "lb tr": ["tree"],
        "lb show off": ["offered"],
        "pool create --lb off": ["offered"],
        "member show offered-pool o": ["offered-member"],
        "member show nix o": [],
        "li": ["listener"],
        "hm create --type TC": ["TCP"],
    }
    lines = [f"{colonnade.url} {typed}" for typed in offers]
    nowhere = "http://127.0.0.1:1 lb show off"
    # An endpoint that takes long to answer, as on a busy machine, is not waited for.
    assert [*offers.values(), []] in (completed([*lines, nowhere]) for _ in range(5))
    slow = COMPLETION_S_MAX + 0.1
    assert [["offered"]] in (completed([lines[1]], load_s=slow) for _ in range(3))
    colonnade("lb", "delete", lb["id"], "--cascade").ok()


def test_nothing_of_ours_is_in_a_request_that_did_not_ask_for_it() -> None:
    """The endpoint here notes what it is asked, and answers as one without our extras."""
    asked: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def answer(reader: Any, writer: Any) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.split("\r\n")
        headers = {k.lower(): v for k, _, v in (x.partition(": ") for x in rest if x)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked.append((first.split()[0], first.split()[1], body, headers))
        shown = b'{"loadbalancer": {"id": "1", "name": "web"}}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(shown), shown))
        await writer.drain()
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        # The endpoint of a catalogue may end in a version, and lie below a path.
        at = Colonnade(f"http://127.0.0.1:{port}/load-balancer/v2.0/")
        said = await loop.run_in_executor(
            None, at, "lb", "create", "web", "--subnet", PRIVATE_SUBNET, "--token", "t"
        )
        said.ok()
        server.close()

    asyncio.run(talk())
    [(method, path, body, headers)] = asked
    assert (method, path) == ("POST", "/load-balancer/v2/lbaas/loadbalancers")
    assert body == b'{"loadbalancer":{"vip_subnet_id":"%s","name":"web"}}' % PRIVATE_SUBNET.encode()
    assert headers["x-auth-token"] == "t"
    assert "x-project-id" not in headers


def test_a_token_is_in_no_error() -> None:
    said = Colonnade("http://127.0.0.1:1")("lb", "list", "--token", "very-secret")
    assert "very-secret" not in said.err + said.out


def test_a_client_takes_an_endpoint_with_or_without_its_version() -> None:
    for endpoint in ("http://h:1", "http://h:1/", "http://h:1/v2", "http://h:1/v2.0/"):
        assert Rest(endpoint).endpoint == "http://h:1"


PRINTED = re.compile(r"```console\n(.*?)```", re.DOTALL)


def test_the_commands_of_the_manual_work_in_their_order(
    colonnade: Colonnade, tmp_path: Path
) -> None:
    """Those that end; the files that they name are here."""
    one = made("example.org")
    for name, text in (
        ("cert.pem", one.public), ("key.pem", one.secret), ("chain.pem", one.public),
        ("pass", "word"), ("members.yaml", "- {address: 10.0.0.13, protocol_port: 80}\n"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    bundle = pkcs12.serialize_key_and_certificates(
        b"other", one.key, one.certificate, None, BestAvailableEncryption(b"word")
    )
    (tmp_path / "bundle.p12").write_bytes(bundle)
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    typed = [
        line.removeprefix("$ colonnade ").partition(" #")[0]
        for block in PRINTED.findall(manual)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ colonnade ")
    ]
    assert len(typed) > 10
    with contextlib.chdir(tmp_path):
        for line in typed:
            if "--follow" not in line:
                colonnade(*line.split()).ok()
    colonnade("lb", "delete", "web", "--cascade").ok()
