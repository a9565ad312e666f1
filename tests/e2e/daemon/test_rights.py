"""Who may do what: roles, confined tokens, revocation, agents' own tokens, secrets, TLS."""
from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import time

import pytest
from portolan import BUILD, patient, wait_for

SIMPLE = """
version: 1
model: simple
export: {run: ["true"], labels: [never]}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""
MATRIX = [
    # method, path, body, roles that may
    ("GET", "/api/v1/runs", None, {"viewer", "member", "manager", "curator", "admin"}),
    ("GET", "/api/v1/projects/rights", None, {"viewer", "member", "manager", "curator", "admin"}),
    ("POST", "/api/v1/projects/rights/runs", {}, {"member", "manager", "curator", "admin"}),
    ("PATCH", "/api/v1/projects/rights", {"default_branch": "main"}, {"manager", "admin"}),
    ("PUT", "/api/v1/projects/rights/secrets/KEY", {"value": "v"}, {"manager", "admin"}),
    ("GET", "/api/v1/tokens", None, {"admin"}),
    ("POST", "/api/v1/agents/enrol-tokens", {}, {"admin"}),
    ("GET", "/api/v1/audit", None, {"admin"}),
    ("POST", "/api/v1/agent/claim", {"inventory": {"hosts": ["server"]}}, set()),
]


def token(site, name: str, role: str, **more) -> str:
    return site.ok("POST", "/api/v1/tokens", {"name": name, "role": role, **more})["token"]


def test_roles(site):
    site.project("rights", SIMPLE)
    for role in ("viewer", "member", "manager", "curator", "admin"):
        bearer = token(site, f"a {role}", role)
        for method, path, body, may in MATRIX:
            status = site.call(method, path, body, token=bearer).status
            assert (status < 300) == (role in may), f"{role} {method} {path}: {status}"
            if role not in may:
                assert status == 403
    for method, path, body, _ in MATRIX:
        assert site.call(method, path, body, token="").status == 401
        assert site.call(method, path, body, token="ptl_user_" + "x" * 43).status == 401


def test_a_confined_token_sees_its_project_only(site):
    site.project("mine", SIMPLE)
    site.project("theirs", SIMPLE)
    mine, theirs = site.run("mine"), site.run("theirs")
    bearer = token(site, "confined", "manager", project="mine")
    assert site.call("GET", f"/api/v1/runs/{mine}", token=bearer).status == 200
    for method, path, body in (("GET", f"/api/v1/runs/{theirs}", None), ("POST", f"/api/v1/runs/{theirs}/cancel", None), ("GET", "/api/v1/projects/theirs", None), ("POST", "/api/v1/projects/theirs/runs", {}),
                               ("GET", f"/api/v1/runs/{theirs}/events", None), ("PUT", "/api/v1/projects/theirs/secrets/K", {"value": "v"}), ("GET", f"/api/v1/runs/{theirs}/statuses", None)):
        assert site.call(method, path, body, token=bearer).status == 404, f"{method} {path}"
    listed = site.call("GET", "/api/v1/runs", token=bearer).json["items"]
    assert listed and {r["project"] for r in listed} == {"mine"}
    assert {r["project"] for r in site.call("GET", "/api/v1/runs?project=theirs", token=bearer).json["items"]} <= {"mine"}
    assert [p["name"] for p in site.call("GET", "/api/v1/projects", token=bearer).json["items"]] == ["mine"]
    site.until(theirs, "running")
    for project, run in (("mine", mine), ("theirs", theirs)):  # whose stage queues longest: what is counted is what is seen
        site.until_stage(run, "export", "queued")
        alone = token(site, f"alone-{project}", "viewer", project=project)
        pending = site.call("GET", "/api/v1/stages/pending?limit=1", token=alone).json["items"]
        assert [p["project"] for p in pending] == [project]
        assert site.call("GET", f"/api/v1/runs/{mine if project == 'theirs' else theirs}/why", token=alone).json["items"] == []


def test_a_confined_token_cannot_unconfine_itself(site):
    site.project("fenced", SIMPLE)
    for role in ("manager", "admin"):
        bearer = token(site, f"fenced-{role}", role, project="fenced")
        assert site.call("PATCH", "/api/v1/projects/fenced", {"poll": "0"}, token=bearer).status == 200, "what is about its project it may"
        for method, path, body in (("POST", "/api/v1/tokens", {"name": "more", "role": role}), ("GET", "/api/v1/tokens", None), ("GET", "/api/v1/audit", None),
                                   ("POST", "/api/v1/agents/enrol-tokens", {"name": "x", "hosts": ["server"]})):
            answer = site.call(method, path, body, token=bearer)
            assert answer.status == 403 and (role == "manager" or b"confined to project 'fenced'" in answer.body), (role, method, path, answer.body)
        assert site.call("POST", "/api/v1/projects", {"name": "beyond", "url": str(site.dir / "repos" / "fenced.git")}, token=bearer).status == 404


def test_a_commit_gets_no_secrets_of_a_branch_it_is_not_on(site):
    work = site.project("guarded", SIMPLE)
    home = site.git(work, "rev-parse", "HEAD")
    site.git(work, "checkout", "-q", "-b", "aside")
    aside = site.commit(work, "aside")
    site.git(work, "push", "-q", "origin", "aside")
    bearer = token(site, "starter", "member")
    for path, body in (("runs", {"ref": "refs/heads/main", "commit": aside}), ("runs", {"commit": aside}), ("pushes", {"updates": [{"ref": "refs/heads/main", "after": aside}]})):
        answer = site.call("POST", f"/api/v1/projects/guarded/{path}", body, token=bearer)
        assert answer.status == 202, answer.body
        run = (answer.json.get("pushes") or [answer.json])[0]["run_id"]
        got = wait_for("the run to be refused", lambda: (r := site.ok("GET", f"/api/v1/runs/{run}"))["state"] not in ("pending", "preparing") and r, 30)
        assert got["state"] == "invalid" and f"commit {aside[:12]} is not on refs/heads/main" in json.dumps(got), got
    for body in ({"ref": "refs/heads/aside", "commit": home}, {"ref": "refs/heads/aside", "commit": aside}):
        run = site.ok("POST", "/api/v1/projects/guarded/runs", body, token=bearer)["run_id"]
        wait_for("the run to be planned", lambda: site.ok("GET", f"/api/v1/runs/{run}")["state"] in ("running", "green", "red"), 30)


def test_revocation_is_immediate_and_tokens_are_never_stored(site):
    made = site.ok("POST", "/api/v1/tokens", {"name": "short", "role": "viewer"})
    assert site.call("GET", "/api/v1/whoami", token=made["token"]).status == 200
    site.ok("DELETE", f"/api/v1/tokens/{made['id']}")
    assert site.call("GET", "/api/v1/whoami", token=made["token"]).status == 401
    assert site.sql(f"SELECT count(*) FROM token WHERE token::text LIKE '%{made['token'][9:30]}%'") == "0"
    listed = json.dumps(site.ok("GET", "/api/v1/tokens?limit=500"))
    assert made["token"] not in listed
    assert any(a["action"] == "token.revoke" for a in site.ok("GET", "/api/v1/audit")["items"]), "every write by a person is in the audit log"
    expired = site.ok("POST", "/api/v1/tokens", {"name": "brief", "role": "viewer", "expires_in": "1s"})["token"]
    wait_for("the token to expire", lambda: site.call("GET", "/api/v1/whoami", token=expired).status == 401, 20)


class Stream:
    """An event stream that is read line by line; it beats every 15 s, so reading cannot stand still for long."""

    def __init__(self, site, path: str, **headers: str):
        self.connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=patient(40))
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()

    def until(self, what: str | None, timeout: float) -> list[str]:
        """The lines up to one that begins so; None: to its end."""
        lines, deadline = [], time.monotonic() + patient(timeout)
        for line in iter(self.answer.readline, b""):
            lines.append(line.decode())
            if what and lines[-1].startswith(what):
                return lines
            assert time.monotonic() < deadline, f"no {what or 'end'}: {lines}"
        assert what is None, f"ended without {what}: {lines}"
        return lines


def test_a_stream_ends_with_the_right_to_it(site):
    site.project("told", SIMPLE)
    run = site.run("told")
    site.until_stage(run, "export", "queued")
    listener = site.ok("POST", "/api/v1/tokens", {"name": "listener", "role": "viewer"})
    entered = site.call("POST", "/api/v1/session", {"token": token(site, "by browser", "viewer")}, token="", headers={"X-Portolan-CSRF": "1"})
    cookie, csrf = entered.headers["Set-Cookie"].split(";")[0], entered.json["csrf"]
    living = Stream(site, "/api/v1/events", Authorization=f"Bearer {token(site, 'living', 'viewer')}")
    gone = [(Stream(site, "/api/v1/events", Authorization=f"Bearer {listener['token']}"), lambda: site.ok("DELETE", f"/api/v1/tokens/{listener['id']}"), 5),
            (Stream(site, f"/api/v1/runs/{run}/events", Cookie=cookie), lambda: site.call("DELETE", "/api/v1/session", token="", headers={"Cookie": cookie, "X-Portolan-CSRF": csrf}), 5)]
    expired = site.ok("POST", "/api/v1/tokens", {"name": "late", "role": "viewer", "expires_in": "1h"})
    gone.append((Stream(site, "/api/v1/events", Authorization=f"Bearer {expired['token']}"), lambda: site.sql(f"UPDATE token SET expires_at = now() WHERE id = {expired['id']}"), 25))
    for stream in (living, *(g[0] for g in gone)):
        stream.until("event: hello", 10)
    for stream, end, seconds in gone:
        end()
        stream.until(None, seconds)
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    living.until("event: run", 10)


def test_an_enrolment_token_works_once_and_for_its_hosts(site):
    one = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": "x", "hosts": ["mobile"]})["token"]
    wrong = site.call("POST", "/api/v1/agent/enroll", {"token": one, "name": "x", "inventory": {"hosts": ["server"]}}, token="")
    assert wrong.status == 401
    first = site.call("POST", "/api/v1/agent/enroll", {"token": one, "name": "x", "inventory": {"hosts": ["mobile"]}}, token="")
    assert first.status == 201
    assert site.call("POST", "/api/v1/agent/enroll", {"token": one, "name": "y", "inventory": {"hosts": ["mobile"]}}, token="").status == 401
    agent = first.json["token"]
    assert site.call("GET", "/api/v1/runs", token=agent).status == 403, "an agent's token opens an agent's calls only"
    assert site.call("POST", "/api/v1/agent/claim", {"inventory": {"hosts": ["mobile"]}, "wait_ms": 0}, token=agent).json == {"claims": []}
    site.project("not-theirs", SIMPLE.replace(", labels: [never]", ", labels: [lab]"))
    run = site.run("not-theirs")
    site.until_stage(run, "export", "queued")
    more = site.call("POST", "/api/v1/agent/claim", {"inventory": {"hosts": ["server"], "labels": ["lab"]}, "wait_ms": 0}, token=agent)
    assert more.status == 403 and "agent x was enrolled for none of the host kinds" in more.json["detail"], more.body
    assert site.call("POST", "/api/v1/agent/claim", {"inventory": {"hosts": ["server", "mobile"], "labels": ["lab"]}, "wait_ms": 0}, token=agent).json == {"claims": []}
    assert site.sql("SELECT hosts, inventory ->> 'hosts' FROM agent WHERE name = 'x'").split("|") == ["{mobile}", '["mobile"]'], "nor is it noted as one that could"
    assert site.stage(run, "export")["state"] == "queued"
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    phones = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": "server-1", "hosts": ["mobile"]})["token"]
    assert site.call("POST", "/api/v1/agent/enroll", {"token": phones, "name": "server-1", "inventory": {"hosts": ["mobile"]}}, token="").status == 401, "nor is an agent of other kinds taken over by its name"
    assert site.call("POST", "/api/v1/agent/enroll", {"token": phones, "name": "phones", "inventory": {"hosts": ["mobile"]}}, token="").status == 201, "the refusal did not use it up"
    assert site.call("GET", "/api/v1/blobs/" + "0" * 64, token=agent).status == 404
    site.ok("POST", "/api/v1/agents/x/remove")
    assert site.call("POST", "/api/v1/agent/claim", {"inventory": {"hosts": ["mobile"]}, "wait_ms": 0}, token=agent).status == 401


def test_secrets_reach_the_stages_that_policy_names_and_no_log(site):
    secret = "s3cr3t-Val/ue+with=parts\nsecond line of it"
    ask = 'secrets: [KEY]'
    site.project("sealed", f"""
version: 1
model: sealed
export:
  run: ["echo \\"$KEY\\"", "printf %s \\"$KEY\\" | base64 -w0", "mkdir $PORTOLAN_OUTPUTS/model", "printf %s \\"$KEY\\" | sha256sum > $PORTOLAN_OUTPUTS/model/digest"]
  {ask}
targets:
  server: {{host: server, verify: {{{ask}, run: ["test -z \\"$KEY\\"", "echo '{{\\"verdict\\":\\"green\\"}}' > $PORTOLAN_REPORT"]}}}}
""")
    site.ok("PUT", "/api/v1/projects/sealed/secrets/KEY", {"value": secret, "stages": ["export"]})
    run = site.until(site.run("sealed"), "green", "red")
    assert run["state"] == "green", [(s["name"], s["state"], s["message"], s["attempt_id"] and site.attempt_log(s["attempt_id"])) for s in run["stages"]]
    log = site.attempt_log(run["stages"][0]["attempt_id"])
    for form in (secret, *secret.splitlines(), base64.b64encode(secret.encode()).decode()):
        assert form not in log, "masked whole, by line, and in base64"
    assert "***" in log
    assert "warning: secret KEY is not released to this ref or stage" in site.attempt_log(run["stages"][1]["attempt_id"]), "who asks in vain is told"
    assert secret.splitlines()[0] not in json.dumps(site.ok("GET", "/api/v1/projects/sealed/secrets")) + site.log() + site.log("agent-server-1")
    assert site.sql("SELECT count(*) FROM project_secret WHERE encode(value, 'escape') LIKE '%s3cr3t%'") == "0", "sealed at rest"
    assert "KEY" not in json.dumps(site.ok("GET", f"/api/v1/attempts/{run['stages'][0]['attempt_id']}/job").get("secrets", {}))


def test_bad_input_gets_a_clear_problem(site):
    cases = [
        ("POST", "/api/v1/projects", {"name": "UPPER", "url": "x"}, 422, "body.name"),
        ("POST", "/api/v1/projects", {"name": "ok", "url": "file:///etc/passwd"}, 422, "body.url"),
        ("POST", "/api/v1/projects", {"name": "ok", "url": "http://169.254.169.254/x"}, 422, "body.url"),
        ("POST", "/api/v1/projects", {"nmae": "ok"}, 422, "did you mean 'name'"),
        ("GET", "/api/v1/runs?stat=red", None, 400, "unknown query parameter 'stat'"),
        ("GET", "/api/v1/nothing", None, 404, "openapi.json"),
        ("DELETE", "/api/v1/runs", None, 405, "DELETE"),
        ("GET", "/api/v1/runs/abc", None, 404, ""),
        ("POST", "/api/v1/projects/rights/pushes", {"updates": [{"ref": "refs/heads/a..b", "after": "0" * 40}]}, 422, "updates[0]"),
        ("POST", "/api/v1/lint", {"text": "version: 1\nmodle: x\n"}, 200, "model"),
    ]
    for method, path, body, status, said in cases:
        answer = site.call(method, path, body)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.body!r}"
        assert said in answer.body.decode(), answer.body
        if status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json" and answer.json["request_id"] == answer.headers["X-Request-Id"]
    broken = site.call("POST", "/api/v1/projects", raw=b'{"name": ')
    assert broken.status == 400 and "line 1" in broken.json["detail"]
    big = site.call("POST", "/api/v1/projects", raw=b'{"name": "' + b"x" * (2 << 20) + b'"}')
    assert big.status == 413


@pytest.mark.parametrize("args, said", [
    (["--listen-address", "0.0.0.0:0"], "tls-cert"),
    (["--listen-address", "nonsense"], "expected ADDRESS:PORT"),
    (["--leese", "30s"], "did you mean 'lease'"),
    (["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"], "/nonexistent"),
])
def test_the_daemon_refuses_unsafe_or_wrong_settings(site, tmp_path, args, said):
    done = subprocess.run([str(BUILD / "daemon" / "portoland"), "--state-dir", str(tmp_path / "state"), *args], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and said in done.stderr, done.stderr
    assert not (tmp_path / "state").exists(), "refused before anything was made"


def test_tls_is_served_and_verified(own_site):
    site = own_site
    cert, key = site.dir / "cert.pem", site.dir / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    site.start_daemon(**{"tls-cert": str(cert), "tls-key": str(key)})
    assert site.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(cert))
    plain_call = site.call
    site.call = lambda *a, **k: plain_call(*a, context=context, **k)
    assert site.ok("GET", "/api/v1/whoami")["role"] == "admin"
    site.start_agent("tls", ca_file=str(cert))
    site.project("over-tls", SIMPLE.replace('["true"], labels: [never]', '["mkdir $PORTOLAN_OUTPUTS/model", "echo w > $PORTOLAN_OUTPUTS/model/w"]').replace('verify: {run: ["true"]}', 'verify: {run: ["echo \'{\\"verdict\\":\\"green\\"}\' > $PORTOLAN_REPORT"]}'))
    run = site.until(site.run("over-tls"), "green", "red")
    assert run["state"] == "green", [(s["name"], s["state"], s["message"], s["attempt_id"] and site.attempt_log(s["attempt_id"])) for s in run["stages"]]
    bad = subprocess.run([str(BUILD / "agents" / "portolan-agent"), "enroll", "ptl_enrol_x", "--server", site.url, "--name", "evil", "--state-dir", str(site.dir / "evil")], capture_output=True, text=True, timeout=120)
    assert bad.returncode != 0 and "certificate" in bad.stderr.lower(), bad.stderr
