"""A command is let in by a browser: codes are few and short-lived, asked for with patience, approved by people with their own rights or less, and what was let in goes when they go."""
from __future__ import annotations


import pytest

NOBODY = ""


def begin(site, client: str = "portolan of ada at harbour") -> dict:
    got = site.call("POST", "/api/v1/login/codes", {"client": client}, token=NOBODY)
    assert got.status == 201, got.body
    return got.json


def poll(site, code: dict):
    return site.call("POST", "/api/v1/login/codes/poll", {"device_code": code["device_code"]}, token=NOBODY)


def patient(site, code: dict):
    """As soon as it may be asked again."""
    site.sql("UPDATE login_code SET polled_at = NULL")
    return poll(site, code)


def token_of(site, name: str, role: str, **more) -> str:
    return site.ok("POST", "/api/v1/tokens", {"name": name, "role": role, **more})["token"]


def approve(site, code: dict, token: str | None = None, **more):
    return site.call("POST", "/api/v1/login/code/approve", {"code": code["user_code"], **more}, **({"token": token} if token else {}))


@pytest.fixture(autouse=True)
def no_codes(site):
    site.sql("DELETE FROM login_code")


def test_approved_once_and_written_down(site):
    code = begin(site)
    assert len(code["user_code"]) == 9 and code["path"] == f"/device?code={code['user_code']}" and code["expires_in"] == 600
    assert patient(site, code).status == 202
    seen = site.ok("GET", f"/api/v1/login/code?code={code['user_code'].lower().replace('-', '')}")
    assert seen["client"] == "portolan of ada at harbour" and seen["address"] == "127.0.0.1"
    ada = token_of(site, "ada", "member")
    assert approve(site, code, ada).status == 200
    got = patient(site, code)
    assert got.status == 200 and (got.json["name"], got.json["role"], got.json["project"]) == ("ada", "member", None)
    assert got.headers["Cache-Control"] == "no-store"
    who = site.ok("GET", "/api/v1/whoami", token=got.json["token"])
    assert who["name"] == "ada" and sorted(who["may"]) == ["read", "trigger"]
    assert patient(site, code).status == 410, "a token is handed over once"
    assert approve(site, code, ada).status == 404
    told = [(a["actor"], a["action"]) for a in site.ok("GET", "/api/v1/audit?limit=10")["items"]]
    assert ("ada", "login.approve") in told and ("ada", "token.create") in told
    held = site.sql("SELECT string_agg(to_jsonb(c)::text, ' ') FROM login_code c")
    assert code["user_code"].replace("-", "") not in held and code["device_code"] not in held and got.json["token"] not in held


def test_denied_expired_unknown(site):
    no = begin(site)
    assert site.call("POST", "/api/v1/login/code/deny", {"code": no["user_code"]}).status == 200
    assert patient(site, no).status == 403
    assert approve(site, no).status == 404, "no is no"
    late = begin(site)
    site.sql("UPDATE login_code SET expires_at = now() - interval '1 second' WHERE state = 'open'")
    assert patient(site, late).status == 410 and approve(site, late).status == 404
    assert site.call("GET", f"/api/v1/login/code?code={late['user_code']}").status == 404
    approved_late = begin(site)
    assert approve(site, approved_late).status == 200
    site.sql("UPDATE login_code SET expires_at = now() - interval '1 second' WHERE state = 'approved'")
    assert patient(site, approved_late).status == 410, "an approval does not wait for ever"
    assert poll(site, {"device_code": "ptl_login_" + "x" * 43}).status == 410
    for odd in ("", "BCDF", "AAAA-AAAA", "BCDF-GHJKL", "BCDF-GHJ\u00e9", "x" * 40):
        assert site.call("POST", "/api/v1/login/code/approve", {"code": odd}).status in (404, 422), odd


def test_who_asks_too_often_waits_longer(site):
    code = begin(site)
    assert poll(site, code).status == 202
    waits = []
    for _ in range(3):
        got = poll(site, code)
        assert got.status == 429
        waits.append(got.json["interval"])
    assert waits == [4.0, 6.0, 8.0]
    site.sql("UPDATE login_code SET every_ms = 30000")
    assert poll(site, code).json["interval"] == 30.0, "and never longer than half a minute"


def test_only_so_many_are_open(site):
    codes = [begin(site) for _ in range(20)]
    refused = site.call("POST", "/api/v1/login/codes", {}, token=NOBODY)
    assert refused.status == 429 and refused.headers["Retry-After"]
    assert site.call("POST", "/api/v1/login/code/deny", {"code": codes[0]["user_code"]}).status == 200
    begin(site)
    site.sql("UPDATE login_code SET address = 'other-' || id")
    site.sql("INSERT INTO login_code (device_hash, user_hash, client, address, expires_at, every_ms) SELECT 'd' || n, 'u' || n, 'x', 'a' || n, now() + interval '1 minute', 2000 FROM generate_series(1, 80) n")
    assert site.call("POST", "/api/v1/login/codes", {}, token=NOBODY).status == 429, "a hundred in all"
    site.sql("UPDATE login_code SET expires_at = now() - interval '2 days'")
    begin(site)
    assert int(site.sql("SELECT count(*) FROM login_code")) <= 2, "old ones are cleared away"


def test_the_persons_rights_or_less(site):
    member = token_of(site, "grace", "member", expires_in="1h")
    for role in ("manager", "curator", "admin"):
        assert approve(site, begin(site), member, role=role).status == 403, role
    assert approve(site, begin(site), member, role="king").status == 422
    assert approve(site, begin(site), member, expires_in="1000d").status == 422
    code = begin(site)
    assert approve(site, code, member, role="viewer", expires_in="30d").status == 200
    got = patient(site, code).json
    assert got["role"] == "viewer" and site.call("POST", "/api/v1/projects/none/runs", {}, token=got["token"]).status == 403
    left = float(site.sql("SELECT extract(epoch FROM expires_at - now()) FROM token WHERE role = 'viewer' AND name = 'grace'"))
    assert 3000 < left <= 3600, "it ends with the token that let it in"
    once = site.ok("POST", "/api/v1/agents/enrol-tokens", {"name": "oar", "hosts": ["server"]})["token"]
    agent = site.ok("POST", "/api/v1/agent/enroll", {"token": once, "name": "oar", "inventory": {"hosts": ["server"]}}, token="")["token"]
    assert approve(site, begin(site), agent).status == 403, "an agent is nobody who could"
    assert approve(site, begin(site), NOBODY or "ptl_user_" + "x" * 43).status == 401


def test_confined_to_the_persons_project(site):
    for name in ("east", "west"):
        site.project(name, "version: 1\nmodel: m\nexport: {run: ['true']}\ntargets:\n  server: {host: server, verify: {run: ['true']}}\n")
    east = token_of(site, "eve", "member", project="east")
    assert approve(site, begin(site), east, project="west").status == 404
    code = begin(site)
    assert approve(site, code, east).status == 200
    got = patient(site, code).json
    assert got["project"] == "east" and site.call("GET", "/api/v1/projects/west", token=got["token"]).status == 404
    wide = begin(site)
    assert approve(site, wide, project="west", role="viewer").status == 200
    assert patient(site, wide).json["project"] == "west", "a person of all projects may give less"


def test_what_was_let_in_goes_with_who_let_it_in(site):
    root = site.ok("POST", "/api/v1/tokens", {"name": "root", "role": "member"})
    first, second, third = begin(site), begin(site), begin(site)
    assert approve(site, first, root["token"]).status == 200
    child = patient(site, first).json["token"]
    assert approve(site, second, child).status == 200
    grandchild = patient(site, second).json["token"]
    assert approve(site, third, grandchild).status == 200
    assert site.call("GET", "/api/v1/runs", token=grandchild).status == 200
    site.ok("DELETE", f"/api/v1/tokens/{root['id']}")
    assert patient(site, third).status == 403, "approved, but by somebody who is shut out meanwhile"
    assert [site.call("GET", "/api/v1/runs", token=t).status for t in (root["token"], child, grandchild)] == [401, 401, 401]


def test_a_code_is_decided_once_by_whoever_is_first(site):
    code = begin(site)
    ada = token_of(site, "first", "viewer")
    assert approve(site, code, ada).status == 200 and approve(site, code).status == 404
    assert site.call("POST", "/api/v1/login/code/deny", {"code": code["user_code"]}).status == 404
    assert patient(site, code).json["name"] == "first"
