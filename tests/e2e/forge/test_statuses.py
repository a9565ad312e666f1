"""From a webhook to the commit status at the forge, through the real daemon and agent: in order, once, the last word the right one."""
from __future__ import annotations

import itertools
import json
import signal

import forge
import pytest
from portolan import wait_for

SECRET, TOKEN = "correct horse battery staple", "forge-token"
PIPELINE = """
version: 1
model: toy
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp weights.txt $PORTOLAN_OUTPUTS/model/", "EXTRA"], outputs: [model/weights.txt]}
targets:
  server: {host: server, verify: {run: ["echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}}
"""
BASES = {"github": "", "gitlab": "/api/v4", "gitea": "/api/v1"}
SENDERS = {"github": "github", "gitlab": "gitlab", "gitea": "forgejo"}
SPELLED = {"github": {"pending": "pending", "running": "pending", "success": "success", "failure": "failure", "error": "error", "cancelled": "error"},
           "gitlab": {"pending": "pending", "running": "running", "success": "success", "failure": "failed", "error": "failed", "cancelled": "canceled"}}
SPELLED["gitea"] = SPELLED["github"]
numbers = itertools.count(1)


def project(site, peer, kind, pipeline=PIPELINE, extra="true", **change):
    """(name, working clone) of a project that reports to the peer."""
    name = f"{kind}{next(numbers)}"
    work = site.project(name, pipeline.replace("EXTRA", extra), {"weights.txt": "hello\n"}, webhook_secret=SECRET)
    site.ok("PATCH", f"/api/v1/projects/{name}", {"status_forge": kind, "status_url": peer.url + BASES[kind], "status_repo": "acme/digits", "status_token": TOKEN, **change})
    return name, work


def push(site, kind, name, work):
    """A commit, told by a webhook: (run, sha)."""
    before = site.git(work, "rev-parse", "HEAD")
    after = site.commit(work, "more")
    site.git(work, "push", "-q", "origin", "main")
    status, answer = forge.send(f"{site.url}/hooks/{name}", SENDERS[kind], SECRET, "refs/heads/main", before, after, f"d-{after[:8]}")
    assert status == 202, answer
    return answer["pushes"][0]["run_id"], after


def ends_with(kind, state):
    return lambda calls: calls and calls[-1]["body"]["state"] == SPELLED[kind][state] and calls[-1]["status"] not in (None, 0) and calls[-1]["status"] < 300


def settled(site, run):
    """The statuses of a run when each is posted or given up."""
    return wait_for("every status to be settled", lambda: (lambda rows: rows if rows and all(r["sent_at"] or r["gave_up_at"] for r in rows) else None)(
        site.ok("GET", f"/api/v1/runs/{run}/statuses")["items"]))


def check_story(site, peer, kind, run, states):
    """What the forge was told is the run's story in order, each at most once, none twice at a time, and it ends with the end. Quick steps
    may have been overtaken: the outbox says which."""
    rows = settled(site, run)
    assert [r["state"] for r in rows] == states
    posted = [SPELLED[kind][r["state"]] for r in rows if not (r["last_error"] or "").startswith("not posted")]
    assert [c["body"]["state"] for c in peer.calls() if c["status"] == 201] == posted
    assert posted[-1] == SPELLED[kind][states[-1]]
    assert all("overtaken" in r["last_error"] for r in rows if r["gave_up_at"]), rows
    assert peer.state.overlaps == 0


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_a_green_run(site, peer, kind):
    name, work = project(site, peer, kind)
    run, sha = push(site, kind, name, work)
    assert site.until(run, "green", "red")["state"] == "green"
    calls = peer.until(ends_with(kind, "success"))
    check_story(site, peer, kind, run, ["pending", "running", "success"])
    last = calls[-1]
    path = {"github": f"/repos/acme/digits/statuses/{sha}", "gitlab": f"/api/v4/projects/acme%2Fdigits/statuses/{sha}",
            "gitea": f"/api/v1/repos/acme/digits/statuses/{sha}"}[kind]
    assert last["path"] == path
    assert last["body"]["target_url"] == f"https://portolan.example/runs/{run}"
    assert last["body"].get("context", last["body"].get("name")) == "ci/portolan/toy"
    assert last["body"]["description"] == "2 of 2 stages green"
    assert last["headers"]["content-type"] == "application/json"
    if kind == "gitlab":
        assert last["body"]["ref"] == "main"
    assert TOKEN not in site.log()


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_a_red_run_and_its_rerun(site, peer, kind):
    name, work = project(site, peer, kind, extra="test -e /tmp/no-such-file-of-portolan || exit 3")
    run, _ = push(site, kind, name, work)
    assert site.until(run, "green", "red")["state"] == "red"
    peer.until(ends_with(kind, "failure"))
    check_story(site, peer, kind, run, ["pending", "running", "failure"])
    before = len(peer.calls())
    site.ok("POST", f"/api/v1/runs/{run}/rerun", {})
    peer.until(lambda calls: len(calls) > before and ends_with(kind, "failure")(calls))
    check_story(site, peer, kind, run, ["pending", "running", "failure", "running", "failure"])


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_a_cancelled_run(site, peer, kind):
    name, work = project(site, peer, kind, extra="sleep 600")
    run, _ = push(site, kind, name, work)
    site.until_stage(run, "export", "running")
    site.ok("POST", f"/api/v1/runs/{run}/cancel", {})
    site.until(run, "cancelled")
    last = peer.until(ends_with(kind, "cancelled"))[-1]
    check_story(site, peer, kind, run, ["pending", "running", "cancelled"])
    assert kind == "gitlab" or last["body"]["description"].startswith("cancelled: ")


def test_an_invalid_pipeline_file(site, peer):
    name, work = project(site, peer, "github", pipeline="version: 1\nmodle: toy\n")
    run, _ = push(site, "github", name, work)
    site.until(run, "invalid")
    last = peer.until(ends_with("github", "error"))[-1]
    assert 0 < len(last["body"]["description"]) <= 140
    check_story(site, peer, "github", run, ["error"])


def test_a_forge_in_trouble_gets_the_present_state_in_the_end(site, peer):
    peer.script({"status": 503}, {"status": 429, "headers": {"Retry-After": "1"}}, {"status": 500})
    name, work = project(site, peer, "gitea")
    run, _ = push(site, "gitea", name, work)
    assert site.until(run, "green", "red")["state"] == "green"
    peer.until(ends_with("gitea", "success"), 60)
    rows = settled(site, run)
    assert rows[-1]["sent_at"] and peer.state.overlaps == 0


def test_a_refusal_is_kept_and_hinders_no_run(site, peer):
    name, work = project(site, peer, "github", status_token="expired")
    run, _ = push(site, "github", name, work)
    assert site.until(run, "green", "red")["state"] == "green"
    rows = settled(site, run)
    assert "Bad credentials" in rows[-1]["last_error"] and rows[-1]["gave_up_at"]
    assert all(c["status"] == 401 for c in peer.calls())
    # The next run tries anew, with a token that is right now.
    site.ok("PATCH", f"/api/v1/projects/{name}", {"status_token": TOKEN})
    push(site, "github", name, work)
    peer.until(ends_with("github", "success"))


def test_private_addresses_only_where_they_are_allowed(own_site, peer):
    own_site.start_daemon(**{"allow-private-addresses": "false"})
    own_site.start_agent("server-1")
    name, work = project(own_site, peer, "gitea")
    run, _ = push(own_site, "gitea", name, work)
    assert own_site.until(run, "green", "red")["state"] == "green"
    rows = settled(own_site, run)
    assert all(r["gave_up_at"] for r in rows)
    assert "https" in rows[-1]["last_error"]
    assert peer.calls() == []


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_daemon_killed_over_a_call(own_site, peer, kind):
    """Nothing is lost: the row comes back, and the last word is the right one. GitLab's refusal of the repeat is no failure."""
    own_site.start_daemon()
    own_site.start_agent("server-1")
    peer.script({"hold": True})
    name, work = project(own_site, peer, kind)
    run, _ = push(own_site, kind, name, work)
    peer.calls(at_least=1)
    own_site.until(run, "green", "red")
    daemon = own_site.daemons[-1]
    own_site.sql("SELECT 1")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait(10)
    with peer.state.lock:
        peer.state.held = 0
        peer.state.lock.notify_all()
    own_site.start_daemon(**{"listen-address": own_site.url.split("//")[1]})
    own_site.sql("UPDATE status_outbox SET sending_until = now() WHERE sending_until IS NOT NULL")  # its minute is over
    peer.until(ends_with(kind, "success"), 60)
    rows = settled(own_site, run)
    assert rows[-1]["state"] == "success" and rows[-1]["sent_at"], json.dumps(rows)
    assert peer.state.overlaps == 0
