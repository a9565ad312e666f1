"""Each command against the stand-in: what it asks, with what body, and what a person reads."""
import json
import os
import pathlib
import pty
import re
import stat
import subprocess

import pytest

import standin
from standin import items, problem

RUN = {
    "id": 12, "project": "digits", "number": 3, "ref": "refs/heads/main", "commit_sha": "1a2b3c4d5e6f" + "0" * 28, "commit_message": "Fix it\n\nbody", "commit_author": "A <a@b>",
    "commit_at": "2026-11-23T07:00:00Z", "state": "red", "message": None, "trigger": "hook", "created_by": "alice", "model": "digits", "created_at": "2026-11-23T07:00:00.5Z",
    "started_at": "2026-11-23T07:00:01Z", "ended_at": "2026-11-23T07:03:21Z", "url": "https://p.example/runs/12",
    "stages": [
        {"id": 43, "name": "export", "kind": "export", "target": None, "state": "green", "attempt_id": 810, "duration_ms": 41200, "started_at": "2026-11-23T07:00:01Z",
         "ended_at": "2026-11-23T07:00:43Z", "model_bytes": 100000, "report": None, "diagnosis": None, "diagnosis_state": "none"},
        {"id": 44, "name": "verify/android", "kind": "verify", "target": "android", "state": "red", "message": None, "attempt_id": 812, "attempt_message": "verdict red: outputs differ", "duration_ms": 3100,
         "started_at": "2026-11-23T07:01:00Z", "ended_at": "2026-11-23T07:01:03Z", "model_bytes": 0, "diagnosis_state": "done",
         "diagnosis": {"version": 1, "verdict": "stated", "summary": "the outputs differ beyond the tolerance", "evidence": [{"line": 17, "text": "max abs 0.25 \x1b[2J", "why": "worst element"}]},
         "report": {"verdict": "red", "outputs": [{"name": "y", "max_abs_error": 0.25, "top1_agreement": 0.875}], "metrics": {"latency_p95_ms": 0.9, "artifact_bytes": 51234},
                    "runtime": {"indicative_latency": True}, "reasons": [{"code": "tolerance", "text": "y: max abs error 0.25 is above 0.001"}]}},
        {"id": 45, "name": "verify/web", "kind": "verify", "target": "web", "state": "skipped", "message": "needs convert/web is red", "attempt_id": None},
    ],
}


@pytest.fixture
def runs(server):
    server.on("GET", "/api/v1/runs/12", RUN)
    server.on("GET", "/api/v1/runs", items({"id": 14, "number": None, "project": "digits", "state": "preparing"}, {**RUN, "stages": 3, "green": 1}, {**RUN, "id": 9, "number": 2, "stages": 3, "green": 3, "state": "green"}))
    return server


def test_every_call_names_itself(server, cli):
    server.on("GET", "/api/v1/whoami", {"name": "alice", "role": "member", "project": "", "may": ["read", "trigger"]})
    assert "alice at http://127.0.0.1" in cli("whoami").ok().out
    asked = server.last()
    assert asked.headers["User-Agent"].startswith("portolan/") and asked.headers["Authorization"] == f"Bearer {standin.TOKEN}"
    assert cli("whoami", "--json").ok().json["may"] == ["read", "trigger"]


def test_login(server, cli, alone):
    server.on("GET", "/api/v1/whoami", {"name": "alice", "role": "admin", "project": "", "may": ["read"]})
    done = alone("login", "--server", server.url + "/", input=standin.TOKEN + "\n").ok()
    assert standin.TOKEN not in done.out + done.err
    folder = pathlib.Path(alone.env["XDG_CONFIG_HOME"]) / "portolan"
    assert [stat.S_IMODE((folder / f).stat().st_mode) for f in (".", "config", "token")] == [0o700, 0o600, 0o600]
    assert standin.TOKEN not in (folder / "config").read_text()
    assert "the token comes from portolan login" in alone("whoami").ok().err
    # levels: options, then environment, then the file
    alone("whoami", env={"PORTOLAN_TOKEN": "other"}).failed(3, "the token comes from the environment")
    alone("whoami", "--token", standin.TOKEN, env={"PORTOLAN_TOKEN": "other"}).ok()
    alone("whoami", "--token-file", "-", input=standin.TOKEN, env={"PORTOLAN_TOKEN": "other"}).ok()
    alone("login", "--server", server.url, input="wrong\n").failed(3)
    alone("whoami").ok()  # what did not work is not remembered
    # the token of the file goes to the server of the file only
    other = standin.Standin()
    try:
        alone("whoami", "--server", other.url).failed(3, f"is for {server.url} and was not sent to {other.url}")
        alone("whoami", env={"PORTOLAN_SERVER": other.url}).failed(3, "was not sent")
        assert all("Authorization" not in a.headers for a in other.asked)
    finally:
        other.close()
    alone("whoami", env={"PORTOLAN_SERVER": server.url}).ok()


def test_project(server, cli, tmp_path):
    server.on("POST", "/api/v1/projects", (201, {"id": 1, "name": "digits"}))
    key = tmp_path / "key"
    key.write_text("-----BEGIN\nx\n-----END\n")
    cli("project", "add", "digits", "https://x.example/d.git", "--poll", "1m", "--default-branch", "trunk", "--credential-kind", "ssh_key", "--credential-user", "git", "--credential-file", key).ok()
    assert server.last().json == {"name": "digits", "url": "https://x.example/d.git", "poll": "1m", "default_branch": "trunk", "credential_kind": "ssh_key", "credential_user": "git",
                                  "credential": "-----BEGIN\nx\n-----END\n"}
    cli("project", "add", "digits", "https://x.example/d.git", "--credential-kind", "token", "--credential-file", "-", "--webhook-secret-file", key, input="abc\n").ok()
    assert server.last().json["credential"] == "abc" and server.last().json["webhook_secret"] == "-----BEGIN\nx\n-----END"
    cli("project", "add", "digits", "u", "--credential-file", key).failed(2, "--credential-kind")
    server.on("PATCH", "/api/v1/projects/digits", {"id": 1, "name": "digits"})
    cli("project", "set", "digits", "--url", "https://y", "--status-forge", "none", "--status-url", "https://f/api/v1", "--status-repo", "o/n", "--status-token-file", "-", input="tok\n").ok()
    assert server.last().json == {"url": "https://y", "status_forge": "", "status_url": "https://f/api/v1", "status_repo": "o/n", "status_token": "tok"}
    cli("project", "set", "digits").failed(2, "nothing to change")
    server.on("GET", "/api/v1/projects", items({"name": "digits", "last_run_number": 3, "last_run_id": 12, "last_run_state": "red", "default_branch": "main", "poll_interval_s": 60, "url": "u", "poll_error": "no route"}))
    out = cli("project", "list").ok().out.splitlines()
    assert out[0].split() == ["PROJECT", "LAST", "RUN", "STATE", "BRANCH", "POLL", "URL", "TROUBLE"] and "#3 (run 12)" in out[1] and "no route" in out[1]
    server.on("GET", "/api/v1/projects/digits", {"name": "digits", "url": "u", "default_branch": "main", "poll_interval_s": 60, "created_at": "2026-11-23T07:00:00Z"})
    assert "every 60 s" in cli("project", "show", "digits").ok().out
    hook = cli("project", "hook", "digits").ok().out
    assert f"{server.url}/hooks/digits" in hook and all(w in hook for w in ("GitHub", "GitLab", "Gitea", "Forgejo", "ALLOWED_HOST_LIST"))
    assert cli("project", "hook", "digits", "--url", "https://ci.example/", "--json").ok().json["url"] == "https://ci.example/hooks/digits"
    server.on("DELETE", "/api/v1/projects/digits", {"id": 1})
    assert "archived" in cli("project", "remove", "digits").ok().out
    server.on("GET", "/api/v1/projects/digits/deliveries", items({"id": 1, "forge": "gitea", "event": "push", "outcome": "run 12", "received_at": "2026-11-23T07:00:00Z", "delivery_id": "g"}))
    assert "run 12" in cli("project", "deliveries", "digits").ok().out


def test_project_secret(server, cli):
    server.on("PUT", "/api/v1/projects/digits/secrets/KEY", {"name": "KEY"})
    done = cli("project", "secret", "set", "digits", "KEY", "--ref", "main", "--ref", "release/*", "--stage", "export", input="s3 cret\nline\n").ok()
    assert server.last().json == {"value": "s3 cret\nline", "refs": ["main", "release/*"], "stages": ["export"]}
    assert "s3" not in done.out + done.err
    cli("project", "secret", "set", "digits", "KEY", input="").failed(2, "nothing came")
    cli("project", "secret", "set", "digits", "KEY", input=b"a\xff\xfe").failed(2, "UTF-8")
    cli("project", "secret", "set", "digits", "KEY", input=b"a\0b").failed(2, "without NUL")
    cli("project", "secret", "set", "digits", "KEY", "value").failed(2, "too much")
    server.on("GET", "/api/v1/projects/digits/secrets", items({"name": "KEY", "refs": ["main"], "stages": [], "updated_at": "2026-11-23T07:00:00Z"}))
    assert "every stage that asks" in cli("project", "secret", "list", "digits").ok().out
    server.on("DELETE", "/api/v1/projects/digits/secrets/KEY", {"name": "KEY"})
    cli("project", "secret", "remove", "digits", "KEY").ok()


def test_run_start(server, cli, tmp_path):
    server.on("POST", "/api/v1/projects/digits/runs", (202, {"push_id": 1, "run_id": 12, "outcome": None}))
    assert "run 12 is started" in cli("run", "start", "digits").ok().out
    assert server.last().json == {}
    cli("run", "start", "-p", "digits", "--ref", "dev").ok()
    assert server.last().json == {"ref": "refs/heads/dev"}
    cli("run", "start", "--tag", "v1", env={"PORTOLAN_PROJECT": "digits"}).ok()
    assert server.last().json == {"ref": "refs/tags/v1"}
    sha = "0123456789abcdef0123456789abcdef01234567"
    assert cli("run", "start", "digits", "--commit", sha, "--json").ok().json["run_id"] == 12
    assert server.last().json == {"commit": sha}
    cli("run", "start", "digits", "--commit", "HEAD").failed(2, "40 hex digits")
    subprocess.run(["git", "init", "-q", tmp_path / "r"], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path / "r", check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path / "r", check=True, capture_output=True, text=True).stdout.strip()
    cli("run", "start", "digits", "--commit", "HEAD", cwd=tmp_path / "r").ok()
    assert server.last().json == {"commit": head}
    cli("run", "start").failed(2, "which project?")
    cli("run", "start", "digits", "--ref", "a", "--tag", "b").failed(2, "not both")
    server.on("POST", "/api/v1/projects/digits/runs", (202, {"push_id": None, "run_id": None, "outcome": "this push was told before"}))
    cli("run", "start", "digits").failed(5, "told before")


def test_run_list(runs, cli):
    out = cli("run", "list").ok().out.splitlines()
    assert out[0].split() == ["RUN", "NAME", "STATE", "GREEN", "REF", "COMMIT", "CREATED", "MESSAGE"]
    assert out[2].split()[:5] == ["12", "digits#3", "red", "1/3", "main"]
    cli("run", "list", "--project", "digits", "--state", "red", "--ref", "main", "--commit", "1a2b", "-n", "5", "--before", "99").ok()
    assert set(runs.last().query.split("&")) == {"project=digits", "state=red", "ref=refs%2Fheads%2Fmain", "commit=1a2b", "limit=5", "before=99"}


def test_lists_go_over_pages(server, cli):
    server.on("GET", "/api/v1/runs", items(*({**RUN, "id": i} for i in range(600, 100, -1)), next=101), items(*({**RUN, "id": i} for i in range(100, 0, -1))))
    assert len(cli("run", "list", "--limit", "600").ok().out.splitlines()) == 601
    assert [a.query for a in server.asked] == ["limit=500", "limit=100&before=101"]
    server.on("GET", "/api/v1/projects", items({"name": "a b"}, next="a b"))
    assert "--after a b goes on" in cli("project", "list", "-n", "1").ok().err
    assert cli("project", "list", "-n", "1", "-q").ok().err == ""
    server.on("GET", "/api/v1/tokens", items({"id": 1}, next=1), items(next=1))  # a server that goes in circles ends the list
    cli("token", "list", "-n", "100").ok()


def test_run_show(runs, cli):
    out = cli("run", "show", "12").ok().out
    assert "digits#3 (run 12)  red  3m 20s" in out and "1a2b3c4d5e6f  Fix it\n" in out and "2026-11-23 07:00:00" in out
    assert "verify/android  android  red       3.1 s     0.25  87.5 %  ~0.9 ms  50.0 KiB      812  verdict red: outputs differ" in out
    assert "diagnosis: the outputs differ beyond the tolerance" in out and "line 17   | max abs 0.25 ?[2J   (worst element)" in out
    assert "y: max abs error 0.25 is above 0.001 (tolerance)" in out and "portolan reproduce 812" in out
    assert "\x1b" not in out
    assert cli("run", "show", "12", "--json").ok().json["id"] == 12


def test_run_names(runs, cli):
    for name, extra in (("digits#3", ()), ("#3", ("--project", "digits"))):
        assert "(run 12)" in cli("run", "show", name, *extra).ok().out
        assert runs.of("GET", "/api/v1/runs")[-1].query.startswith("project=digits&limit=")
    assert "(run 12)" in cli("run", "show", "#3", env={"PORTOLAN_PROJECT": "digits"}).ok().out
    cli("run", "show", "#3").failed(2, "needs a project")
    cli("run", "show", "digits#7").failed(4, "no run #7", "portolan run list --project digits")
    runs.on("GET", "/api/v1/attempts/810/artifacts", items({"path": "model/m", "size_bytes": 1, "sha256": "a" * 64}))
    assert "model/m" in cli("artifacts", "list", "digits#3/export").ok().out
    cli("artifacts", "list", "12/verify/androd").failed(4, "did you mean 'verify/android'?")
    cli("artifacts", "list", "12/verify/web").failed(4, "has had no attempt yet", "portolan why 12")
    runs.on("GET", "/api/v1/stages/43/attempts", items({"id": 810, "fence": 2}, {"id": 805, "fence": 1}))
    runs.on("GET", "/api/v1/attempts/805/artifacts", items({"path": "model/old", "size_bytes": 1, "sha256": "a" * 64}))
    assert "model/old" in cli("artifacts", "list", "12/export@1").ok().out
    cli("artifacts", "list", "12/export@7").failed(4, "no attempt 7")
    assert [line.split()[:2] for line in cli("attempt", "list", "12/export").ok().out.splitlines()] == [["ATTEMPT", "N"], ["810", "2"], ["805", "1"]]


def test_run_cancel_and_rerun(runs, cli):
    runs.on("POST", "/api/v1/runs/12/cancel", {"id": 12, "stages": 2})
    runs.on("POST", "/api/v1/runs/12/rerun", {"stages": 2})
    assert "cancelled" in cli("run", "cancel", "digits#3").ok().out
    assert cli("run", "rerun", "12", "--json").ok().json == {"stages": 2}
    assert runs.last().path == "/api/v1/runs/12/rerun"


def test_why(runs, cli):
    runs.on("GET", "/api/v1/runs/12/why", items({"id": 46, "name": "convert/web", "state": "queued", "why": "no agent is enrolled"}))
    out = cli("why", "12").ok().out
    assert "convert/web is queued: no agent is enrolled" in out and "line 17" in out and "verify/web is skipped: needs convert/web is red" in out
    told = cli("why", "12", "--json").ok().json
    assert [s["name"] for s in told["red"]] == ["verify/android"] and told["waiting"][0]["id"] == 46


def test_stage(runs, cli):
    runs.on("GET", "/api/v1/stages/pending", items({"id": 46, "project": "digits", "run_number": 3, "run_id": 12, "name": "convert/web", "host": "server", "state": "gated", "why": "waits for a person"}))
    assert "waits for a person" in cli("stage", "list").ok().out
    runs.on("POST", "/api/v1/stages/44/approve", {"run_id": 12, "state": "queued"})
    cli("stage", "approve", "digits#3/verify/android", "-m", "fine").ok()
    assert runs.last().json == {"comment": "fine"}
    runs.on("POST", "/api/v1/stages/46/decline", {"run_id": 12, "state": "red"})
    cli("stage", "decline", "46").ok()
    assert runs.last().body == b""
    cli("stage", "decline", "nonsense").failed(2, "RUN/STAGE")


def test_logs(server, cli):
    log = b"one\n\x1b[2Jtwo \xff\n" * 1000
    server.on("GET", "/api/v1/attempts/812/log", lambda a: (200, log[int(a.query[7:]):][:3000], {"X-Portolan-Next-Offset": str(min(len(log), int(a.query[7:]) + 3000)), "X-Portolan-Log-Complete": "true"}))
    assert cli("logs", "812").ok().raw == log  # into a pipe: every byte as it is
    assert cli("logs", "812", "--offset", "4").ok().raw == log[4:]
    server.on("GET", "/api/v1/attempts/812/log", (200, log, {"X-Portolan-Next-Offset": str(len(log)), "X-Portolan-Log-Complete": "false"}), (200, b"", {"X-Portolan-Next-Offset": str(len(log)), "X-Portolan-Log-Complete": "false"}))
    assert f"portolan logs -f 812 --offset {len(log)}" in cli("logs", "812").ok().err


def on_a_terminal(cli, *args):
    parent, child = pty.openpty()
    env = {**cli.env, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([standin.CLI, *args], stdin=subprocess.DEVNULL, stdout=child, stderr=subprocess.DEVNULL, env=env, cwd=cli.home)
    os.close(child)
    out = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(parent)
    return process.wait(), out.replace(b"\r\n", b"\n")


def test_a_terminal_is_not_steered(runs, cli):
    runs.on("GET", "/api/v1/attempts/812/log", (200, b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;x\x07\r9%\r10%\n", {"X-Portolan-Log-Complete": "true"}), (200, b"", {"X-Portolan-Log-Complete": "true"}))
    assert on_a_terminal(cli, "logs", "812") == (0, b"\x1b[31mred\x1b[0m ?[2J?]0;x?\n9%\n10%\n")
    runs.on("GET", "/api/v1/attempts/812/log", (200, b"\x1b[2J\n", {"X-Portolan-Log-Complete": "true"}), (200, b"", {"X-Portolan-Log-Complete": "true"}))
    assert on_a_terminal(cli, "logs", "812", "--raw") == (0, b"\x1b[2J\n")
    code, out = on_a_terminal(cli, "run", "show", "12")
    assert b"\x1b[31mred\x1b[0m" in out and b"?[2J" in out
    cli.env["NO_COLOR"] = "1"
    assert b"\x1b" not in on_a_terminal(cli, "run", "show", "12")[1]


def test_a_table_fits_the_terminal(runs, cli):
    cli.env["NO_COLOR"] = "1"
    table = [line for line in on_a_terminal(cli, "run", "list")[1].decode().splitlines()]
    assert max(map(len, table)) <= 100


def test_report(server, cli):
    server.on("GET", "/api/v1/attempts/812/report", {
        "verdict": "red", "precision": "int8", "rule": "|got-ref| <= atol + rtol*|ref|", "atol": 1e-3, "rtol": 1e-2, "samples": 32, "matched_by": "name",
        "outputs": [{"name": "probabilities", "verdict": "red", "dtype": "float32", "shape": [32, 10], "max_abs_error": 0.2, "cosine": 0.99, "top1_agreement": 0.96, "mismatched": 7, "elements": 320,
                     "worst": {"index": [3, 7], "expected": 0.1, "got": 0.3}}],
        "budgets": [{"name": "latency_p95_ms", "limit": 20, "measured": 3.1, "verdict": "green", "indicative": True}, {"name": "artifact_bytes", "limit": 204800, "measured": 51234, "verdict": "green"}],
        "against_last_good": [{"name": "artifact_bytes", "before": 50000, "now": 51234, "change_pct": 2.468}],
        "metrics": {"load_ms": 12.1, "latency_p95_ms": 3.1, "peak_memory_bytes": 71000000}, "runtime": {"name": "litert", "version": "2.1.4", "backend": "xnnpack", "indicative_latency": True},
        "reasons": [{"code": "top1", "text": "top-1 0.96 is below 0.97", "output": "probabilities"}], "notes": []})
    out = re.sub(" +", " ", cli("report", "812").ok().out)
    for text in ("red: 32 samples, precision int8", "probabilities red float32 32x10 0.2", "7 of 320", "worst of probabilities[3, 7]: expected 0.1, got 0.3", "latency_p95_ms green 20 ms 3.1 ms indicative",
                 "artifact_bytes green 200.0 KiB 50.0 KiB", "+2.5 %", "on litert 2.1.4, backend xnnpack; latency is indicative", "- probabilities: top-1 0.96 is below 0.97 (top1)", "peak memory 67.7 MiB"):
        assert text in out, (text, out)


def test_agent(server, cli):
    server.on("GET", "/api/v1/agents", items({"id": 1, "name": "box", "hosts": ["server", "browser"], "state": "active", "online": True, "running": 1, "slots": 2, "last_seen_at": "2026-11-23T07:00:00Z",
                                              "inventory": {"version": "0.1.0", "sandbox": "bwrap+cgroup1"}, "toolchains": ["tensorflow"], "labels": []},
                                             {"id": 2, "name": "old", "state": "active", "online": False, "slots": 1, "running": 0}))
    out = cli("agent", "list").ok().out
    assert "server, browser  online" in out and "1/2" in out and "away" in out
    server.on("POST", "/api/v1/agents/enrol-tokens", (201, {"id": 5, "token": "ptl_enrol_x", "expires_at": "2026-11-23T08:00:00Z"}))
    done = cli("agent", "enrol", "box", "--host", "server", "--host", "mobile", "--expires-in", "10m").ok()
    assert server.last().json == {"name": "box", "hosts": ["server", "mobile"], "expires_in": "10m"}
    assert done.out == "ptl_enrol_x\n" and f"portolan-agent enroll ptl_enrol_x --server {server.url} --name box --hosts server,mobile" in done.err
    for verb in ("drain", "activate", "remove"):
        server.on("POST", f"/api/v1/agents/box/{verb}", {"id": 1, "name": "box"})
        cli("agent", verb, "box").ok()


def test_token(server, cli):
    server.on("POST", "/api/v1/tokens", (201, {"id": 5, "token": "ptl_user_x", "expires_at": None}))
    done = cli("token", "create", "ci", "--role", "member", "--project", "digits", "--expires-in", "90d").ok()
    assert done.out == "ptl_user_x\n" and server.last().json == {"name": "ci", "role": "member", "project": "digits", "expires_in": "90d"}
    cli("token", "create", "ci", env={"PORTOLAN_PROJECT": "digits"}).ok()
    assert server.last().json == {"name": "ci", "role": "viewer"}
    cli("token", "create", "ci", "--role", "boss").failed(2, "expected one of viewer|member")
    server.on("GET", "/api/v1/tokens", items({"id": 5, "kind": "person", "name": "ci", "role": "member"}))
    assert "member" in cli("token", "list").ok().out
    server.on("DELETE", "/api/v1/tokens/5", {"id": 5, "name": "ci"})
    assert "token 5 (ci) is revoked" in cli("token", "revoke", "5").ok().out


def test_audit(server, cli):
    server.on("GET", "/api/v1/audit", items({"id": 7, "at": "2026-11-23T07:00:00Z", "actor": "alice", "action": "run.start", "object": "digits", "detail": {"ref": "refs/heads/main"}}))
    assert 'run.start  digits  {"ref":"refs/heads/main"}' in cli("audit").ok().out


def test_json_is_what_the_api_said(runs, cli):
    assert json.loads(cli("run", "list", "--json").ok().out)["items"][1]["id"] == 12
    runs.on("GET", "/api/v1/projects", items({"name": "x"}, next="x"))
    assert cli("project", "list", "--json", "-n", "1").ok().json["next"] == "x"
