"""Webhooks of every forge against the real daemon: which start a run, which only get an answer, and what a stranger learns (nothing)."""
from __future__ import annotations

import concurrent.futures
import http.client
import itertools
import json
import socket
import urllib.parse

import forge
import pytest
from portolan import wait_for

SECRET = "correct horse battery staple"
PIPELINE = """
version: 1
model: toy
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp weights.txt $PORTOLAN_OUTPUTS/model/"], outputs: [model/weights.txt]}
targets:
  server: {host: server, verify: {run: ["echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}}
on: {push: {branches: ["**"], tags: ["**"]}}
"""
numbers = itertools.count(1)


@pytest.fixture
def toy(site):
    """A project of its own with a webhook secret: (name, its working clone, its hook's URL)."""
    name = f"toy{next(numbers)}"
    work = site.project(name, PIPELINE, {"weights.txt": "hello\n"}, webhook_secret=SECRET)
    return name, work, f"{site.url}/hooks/{name}"


def push(site, work, message="more", ref="main"):
    """A commit that is in the repository: (before, after)."""
    before = site.git(work, "rev-parse", "HEAD")
    after = site.commit(work, message)
    site.git(work, "push", "-q", "origin", f"HEAD:{ref}")
    return before, after


def runs_of(site, name):
    return site.ok("GET", f"/api/v1/runs?project={name}")["items"]


def pushes_of(site, name):
    rows = site.sql(f"SELECT json_agg(json_build_object('ref', ref, 'before', before_sha, 'after', after_sha, 'pusher', pusher, 'forced', forced, 'outcome', outcome) ORDER BY p.id)"
                    f" FROM push p JOIN project ON project.id = project_id WHERE name = '{name}'")
    return json.loads(rows or "[]") or []


FORMS = [("github", {}), ("github", {"form": True}), ("gitlab", {}), ("gitlab", {"signed": True}), ("gitea", {}), ("gitea", {"form": True}),
         ("forgejo", {}), ("forgejo", {"form": True}), ("standard", {})]


@pytest.mark.parametrize("kind,how", FORMS, ids=["-".join([k, *h]) for k, h in FORMS])
def test_a_push_starts_one_run_of_its_commit(site, toy, kind, how):
    name, work, url = toy
    before, after = push(site, work)
    status, answer = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "d-1", commits=[before, after], **how)
    assert status == 202, answer
    [told] = answer["pushes"]
    assert told["ref"] == "refs/heads/main" and told["outcome"] is None
    run = site.until(told["run_id"], "green", "red")
    assert (run["state"], run["commit_sha"], run["ref"], run["trigger"]) == ("green", after, "refs/heads/main", "webhook")
    assert pushes_of(site, name)[0] == {"ref": "refs/heads/main", "before": before, "after": after, "pusher": "ada", "forced": False, "outcome": "run"}
    [delivery] = site.ok("GET", f"/api/v1/projects/{name}/deliveries")["items"]
    assert (delivery["forge"], delivery["delivery_id"], delivery["outcome"]) == (kind, "d-1", "1 push")
    # The same delivery again, as forges repeat them: nothing more happens.
    status, answer = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "d-1", commits=[before, after], **how)
    assert status == 200 and "received before" in answer["ignored"]
    # The same push under another id: a replay of what was captured, or a second hook of the same repository.
    status, answer = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "d-2", **how)
    assert status == 202 and answer["pushes"] == [{"ref": "refs/heads/main", "run_id": None, "outcome": "this push was told before"}]
    assert len(runs_of(site, name)) == 1


def test_secrets_in_the_standard_webhooks_form(site):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    work = site.project("whsec", PIPELINE, {"weights.txt": "x"}, webhook_secret=secret)
    for kind, how in (("standard", {}), ("gitlab", {"signed": True})):
        before, after = push(site, work)
        status, answer = forge.send(f"{site.url}/hooks/whsec", kind, secret, "refs/heads/main", before, after, f"d-{kind}", **how)
        assert status == 202 and answer["pushes"][0]["run_id"], answer


def test_the_same_delivery_many_times_at_once_has_one_effect(site, toy):
    name, work, url = toy
    before, after = push(site, work)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: forge.send(url, "github", SECRET, "refs/heads/main", before, after, "same"), range(16)))
    assert sorted(status for status, _ in answers) == [200] * 15 + [202]
    assert len(runs_of(site, name)) == 1


def test_two_forges_and_a_hook_tell_of_one_push(site, toy):
    name, work, url = toy
    before, after = push(site, work)
    for kind in ("github", "gitlab", "gitea", "standard"):
        status, _ = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "d")
        assert status == 202
    site.ok("POST", f"/api/v1/projects/{name}/pushes", {"updates": [{"ref": "refs/heads/main", "before": before, "after": after}]})
    assert len(runs_of(site, name)) == 1


def test_tags_run_the_commit_behind_them(site, toy):
    name, work, url = toy
    commit = site.git(work, "rev-parse", "HEAD")
    site.git(work, "tag", "-a", "-m", "first", "v1")
    site.git(work, "push", "-q", "origin", "v1")
    tag = site.git(work, "rev-parse", "v1")
    assert tag != commit
    for kind in ("github", "gitlab", "gitea"):
        status, answer = forge.send(url, kind, SECRET, "refs/tags/v1", forge.ZERO, tag, "t", commit_sha=commit)
        assert status == 202, answer
    [run] = runs_of(site, name)
    assert site.until(run["id"], "green", "red")["commit_sha"] == commit
    assert pushes_of(site, name)[0]["before"] is None


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea", "forgejo", "standard"])
def test_a_deleted_branch_is_noted_and_not_run(site, toy, kind):
    name, work, url = toy
    sha = site.git(work, "rev-parse", "HEAD")
    status, answer = forge.send(url, kind, SECRET, "refs/heads/gone", sha, forge.ZERO, "d")
    assert status == 202
    assert answer["pushes"] == [{"ref": "refs/heads/gone", "run_id": None, "outcome": "the ref was deleted: nothing to run"}]
    [noted] = pushes_of(site, name)
    assert (noted["before"], noted["after"]) == (sha, None)
    assert runs_of(site, name) == []


def test_a_forced_push_is_marked(site, toy):
    name, work, url = toy
    before = site.git(work, "rev-parse", "HEAD")
    site.git(work, "commit", "-q", "--amend", "--allow-empty", "-m", "anew")
    site.git(work, "push", "-q", "-f", "origin", "main")
    after = site.git(work, "rev-parse", "HEAD")
    status, _ = forge.send(url, "github", SECRET, "refs/heads/main", before, after, "f", forced=True)
    assert status == 202 and pushes_of(site, name)[0]["forced"] is True


def test_skip_words_in_the_commit_are_heeded(site, toy):
    name, work, url = toy
    before, after = push(site, work, "words only [skip ci]")
    status, answer = forge.send(url, "gitea", SECRET, "refs/heads/main", before, after, "s")
    assert status == 202 and answer["pushes"][0]["run_id"]
    wait_for("the push to have its reason", lambda: "skip" in (pushes_of(site, name)[0]["outcome"] or ""))
    assert runs_of(site, name) == []


def test_several_pushes_in_one_delivery(site, toy):
    name, work, url = toy
    before, after = push(site, work)
    site.git(work, "push", "-q", "origin", "HEAD:b")
    body = json.dumps({"type": "push", "data": {"pushes": [
        {"ref": "refs/heads/main", "before": before, "after": after}, {"ref": "refs/heads/b", "after": after}, {"ref": "refs/heads/main", "before": before, "after": after},
        {"ref": "refs/heads/c", "before": before, "after": forge.ZERO}, {"ref": "refs/notes/x", "after": after}]}}).encode()
    stamp = int(site.sql("SELECT extract(epoch FROM now())::bigint"))
    status, answer = forge.post(url, forge.headers_of("standard", "", "several", body, SECRET, timestamp=stamp), body)
    assert status == 202
    assert [(p["ref"], p["run_id"] is not None, p["outcome"]) for p in answer["pushes"]] == [
        ("refs/heads/main", True, None), ("refs/heads/b", True, None), ("refs/heads/main", False, "this push was told before"),
        ("refs/heads/c", False, "the ref was deleted: nothing to run"), ("refs/notes/x", False, "refs/notes/x is neither a branch nor a tag")]


def test_what_starts_no_run_says_so(site, toy):
    name, work, url = toy
    sha = site.git(work, "rev-parse", "HEAD")
    for n, (kind, event, payload, says) in enumerate([
            ("github", "ping", {"zen": "Non-blocking is better than blocking.", "hook_id": 1}, "ping"),
            ("github", "issues", {"action": "opened"}, "starts no run"),
            ("gitlab", "Merge Request Hook", {"object_kind": "merge_request"}, "starts no run"),
            ("gitea", "create", {"ref": "x", "ref_type": "branch"}, "push event"),
            ("forgejo", "push", forge.push_payload("forgejo", "refs/heads/main", sha, sha), "test delivery"),
            ("github", "push", forge.push_payload("github", "refs/pull/3/head", sha, "1" * 40), "neither a branch nor a tag")]):
        body = forge.encode(payload)
        status, answer = forge.post(url, forge.headers_of(kind, event, f"i-{n}", body, SECRET), body)
        assert status == 200 and says in answer["ignored"], answer
    assert runs_of(site, name) == [] and pushes_of(site, name) == []
    assert [d["outcome"] for d in site.ok("GET", f"/api/v1/projects/{name}/deliveries")["items"]][-1].startswith("ping")


def test_a_stranger_learns_nothing_about_projects(site, toy):
    """Unknown, archived, without a secret, with another secret: one and the same answer."""
    name, work, url = toy
    before, after = push(site, work)
    site.project("bare-hook", PIPELINE, {"weights.txt": "x"})
    site.project("archived-hook", PIPELINE, {"weights.txt": "x"}, webhook_secret="guess")
    site.ok("DELETE", "/api/v1/projects/archived-hook")
    for kind, how in FORMS:
        seen = set()
        for where in (name, "bare-hook", "archived-hook", "never-heard-of", "NOT%20A%20NAME", "%ff"):
            status, answer = forge.send(f"{site.url}/hooks/{where}", kind, "guess", "refs/heads/main", before, after, "x", **how)
            answer.pop("request_id")
            seen.add((status, json.dumps(answer, sort_keys=True)))
        assert len(seen) == 1, seen
        [(status, text)] = seen
        assert status == 401 and "webhook_secret" in text
        assert name not in text and "guess" not in text and SECRET not in text
        # Not signed at all: the same words everywhere, too.
        seen = set()
        for where in (name, "bare-hook", "never-heard-of"):
            status, answer = forge.send(f"{site.url}/hooks/{where}", kind, None, "refs/heads/main", before, after, "x", **how)
            answer.pop("request_id")
            seen.add((status, json.dumps(answer, sort_keys=True)))
        assert len(seen) == 1 and next(iter(seen))[0] == 401 and "webhook_secret" in next(iter(seen))[1], seen
    assert runs_of(site, name) == [] and site.ok("GET", f"/api/v1/projects/{name}/deliveries")["items"] == []
    assert SECRET not in site.log() and "refused a github delivery" in site.log()


def test_bodies_that_cannot_be_read(site, toy):
    name, work, url = toy
    for body, says in ((b"", "JSON"), (b"{", "JSON"), (b"[]", "object"), (b'{"ref":"refs/heads/\xff"}', "JSON"), (b'{"ref":"refs/heads/../x","after":"%s"}' % (b"1" * 40), "payload.ref"),
                       (b'{"ref":"refs/heads/main","after":"HEAD; rm -rf /"}', "payload.after"), (b"[" * 100000, "JSON")):
        status, answer = forge.post(url, forge.headers_of("github", "push", "bad", body, SECRET), body)
        assert status == 400 and says in answer["detail"], (body[:50], answer)
    status, answer = forge.post(url, {"Content-Type": "application/json"}, b"{}")
    assert status == 400 and "X-GitHub-Event" in answer["detail"]
    assert site.ok("GET", f"/api/v1/projects/{name}/deliveries")["items"] == []


def test_size_of_bodies(site, toy):
    name, work, url = toy
    sha = site.git(work, "rev-parse", "HEAD")
    payload = forge.push_payload("github", "refs/heads/main", forge.ZERO, sha)
    payload["padding"] = ""
    payload["padding"] = "x" * ((8 << 20) - len(forge.encode(payload)))
    body = forge.encode(payload)
    assert len(body) == 8 << 20
    status, answer = forge.post(url, forge.headers_of("github", "push", "big", body, SECRET), body)
    assert status == 202 and answer["pushes"][0]["run_id"]
    body += b" "
    status, answer = forge.post(url, forge.headers_of("github", "push", "bigger", body, SECRET), body)
    assert status == 413, answer


def test_a_clock_that_is_wrong(site, toy):
    name, work, url = toy
    before, after = push(site, work)
    now = int(site.sql("SELECT extract(epoch FROM now())::bigint"))
    for kind, how in (("standard", {}), ("gitlab", {"signed": True})):
        for stamp, says in ((now - 3600, "behind"), (now + 3600, "ahead")):
            status, answer = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "late", timestamp=stamp, **how)
            assert status == 401 and says in answer["detail"], answer
        status, _ = forge.send(url, kind, SECRET, "refs/heads/main", before, after, "near", timestamp=now - 240, **how)
        assert status == 202
    assert len(runs_of(site, name)) == 1


def test_a_forge_that_hangs_up_early_is_heard_all_the_same(site, toy):
    name, work, url = toy
    before, after = push(site, work)
    body = forge.encode(forge.push_payload("gitea", "refs/heads/main", before, after))
    at = urllib.parse.urlsplit(url)
    head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (at.path, len(body))
    head += "".join("%s: %s\r\n" % kv for kv in forge.headers_of("gitea", "push", "hasty", body, SECRET).items())
    with socket.create_connection((at.hostname, at.port)) as s:
        s.sendall(head.encode() + b"\r\n" + body)
    wait_for("the delivery to be noted", lambda: site.ok("GET", f"/api/v1/projects/{name}/deliveries")["items"])
    status, answer = forge.send(url, "gitea", SECRET, "refs/heads/main", before, after, "hasty")
    assert status == 200 and "received before" in answer["ignored"]
    assert len(runs_of(site, name)) == 1


def test_header_names_in_any_case_and_a_kept_connection(site, toy):
    name, work, url = toy
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    for n in range(3):
        before, after = push(site, work)
        body = forge.encode(forge.push_payload("forgejo", "refs/heads/main", before, after))
        headers = {k.upper() if n % 2 else k.lower(): v for k, v in forge.headers_of("forgejo", "push", f"k-{n}", body, SECRET).items()}
        connection.request("POST", at.path, body, headers)
        with connection.getresponse() as answer:
            assert answer.status == 202
            answer.read()
    connection.close()
    assert len(runs_of(site, name)) == 3


def test_only_post_and_no_query(site, toy):
    _, _, url = toy
    path = urllib.parse.urlsplit(url).path
    assert site.call("GET", path).status == 405
    assert site.call("POST", path + "?token=x", {}).status == 400


def test_polling_beside_the_webhook_starts_nothing_twice(site):
    """Two pushes, both told by the webhook; a poll that looks only afterwards sees one step from the first to the last commit."""
    work = site.project("polled", PIPELINE, {"weights.txt": "x"}, webhook_secret=SECRET, poll="1h")
    polled = "SELECT count(*) FROM ref_seen s JOIN project p ON p.id = s.project_id WHERE p.name = 'polled' AND s.sha = '%s'"
    wait_for("the first look", lambda: site.sql(polled % site.git(work, "rev-parse", "HEAD")) == "1")
    for n in range(2):
        before, after = push(site, work)
        status, _ = forge.send(f"{site.url}/hooks/polled", "github", SECRET, "refs/heads/main", before, after, f"p-{n}")
        assert status == 202
    assert site.sql(polled % after) == "1"
    site.sql("UPDATE project SET poll_at = now() WHERE name = 'polled'")
    wait_for("the next look", lambda: site.sql("SELECT poll_at > now() + interval '30 minutes' FROM project WHERE name = 'polled'") == "t")
    # A third push, which only polling sees, comes after what that look found.
    before, after = push(site, work)
    site.sql("UPDATE project SET poll_at = now() WHERE name = 'polled'")
    wait_for("the third push", lambda: [p for p in pushes_of(site, "polled") if p["after"] == after])
    assert [(p["before"], p["pusher"]) for p in pushes_of(site, "polled")][2:] == [(before, "poll")]
    assert len(runs_of(site, "polled")) == 3


def test_a_webhook_before_the_first_look_leaves_it_the_first(site):
    """The first look of polling only notes refs; a webhook that comes earlier must not make it take every old branch for new."""
    work = site.project("early", PIPELINE, {"weights.txt": "x"}, webhook_secret=SECRET)
    for branch in ("old1", "old2"):
        site.git(work, "push", "-q", "origin", f"HEAD:{branch}")
    before, after = push(site, work)
    status, _ = forge.send(f"{site.url}/hooks/early", "github", SECRET, "refs/heads/main", before, after, "e")
    assert status == 202
    site.ok("PATCH", "/api/v1/projects/early", {"poll": "1h"})
    wait_for("the first look", lambda: site.sql("SELECT count(*) FROM ref_seen s JOIN project p ON p.id = s.project_id WHERE p.name = 'early'") == "3")
    assert len(runs_of(site, "early")) == 1
