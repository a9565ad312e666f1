#!/usr/bin/env python3
"""A forge for tests: takes commit statuses as GitHub, GitLab, Gitea and Forgejo do, and sends webhooks as they do.

What it imitates is the wire: header sets, signatures, status codes, GitLab's refusal of a state that is already there,
GitHub's checks of what it is sent, rate limits. Standard library only. It never sleeps to wait: a caller asks for
"at least N calls" and is answered when they are there or his deadline has passed.

As a program:
  forge.py serve [--port 0] [--token T]      prints "listening PORT", serves until stdin closes
  forge.py send --forge github --url U --secret S --ref refs/heads/main --before … --after …
Control of a running one (JSON over HTTP):
  POST /_/script   {"faults":[{"status":503},{"status":429,"headers":{"Retry-After":"1"}},{"drop":true},{"hold":true}]}
                   one is used up by each status call, in order; {} lets one call through as usual
  POST /_/release  lets every held call go on
  GET  /_/calls?at_least=N&deadline_ms=M     {"calls":[{"path","headers","body","status"}],"overlaps":K}
  POST /_/reset
"""
import argparse
import base64
import collections
import hashlib
import hmac
import json
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ZERO = "0" * 40


# ------------------------------------------------------------------------------------------------ taking statuses
class Status(Exception):
    """An answer other than the good one."""

    def __init__(self, status, body, headers=None):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


class State:
    def __init__(self, token):
        self.token = token
        self.lock = threading.Condition()
        self.reset()

    def reset(self):
        with self.lock:
            self.calls, self.faults, self.overlaps = [], collections.deque(), 0
            self.running = collections.Counter()  # (path, context) -> calls inside at this moment
            self.statuses = collections.defaultdict(list)  # (path, context, ref) -> states in order
            self.held = 0
            self.lock.notify_all()


def github(state, path, headers, body):
    if not headers.get("User-Agent"):
        raise Status(403, {"message": "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"})
    if headers.get("Authorization") != "Bearer " + state.token:
        raise Status(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"})
    if headers.get("Accept") != "application/vnd.github+json" or not headers.get("X-GitHub-Api-Version"):
        raise Status(415, {"message": "Unsupported 'Accept' header"})
    if body.get("state") not in ("error", "failure", "pending", "success"):
        raise Status(422, {"message": "Validation Failed", "errors": [{"resource": "Status", "code": "custom", "field": "state",
                                                                        "message": "state is not included in the list"}]})
    if len(body.get("description") or "") > 140:
        raise Status(422, {"message": "Validation Failed", "errors": [{"resource": "Status", "code": "custom", "field": "description",
                                                                        "message": "description is too long (maximum is 140 characters)"}]})
    if len(state.statuses[(path, body.get("context", "default").lower(), None)]) >= 1000:
        raise Status(422, {"message": "Validation Failed", "errors": [{"resource": "Status", "code": "custom",
                                                                        "message": "This SHA and context has reached the maximum number of statuses."}]})
    state.statuses[(path, body.get("context", "default").lower(), None)].append(body["state"])
    return 201, {"id": len(state.calls), "state": body["state"], "context": body.get("context", "default")}


# GitLab's state machine of a commit status, as far as its API drives it: which event may happen in which state.
GITLAB_EVENTS = {
    "pending": ("enqueue", {"created"}),
    "running": ("run", {"created", "pending"}),
    "success": ("success", {"created", "pending", "running"}),
    "failed": ("drop", {"created", "pending", "running"}),
    "canceled": ("cancel", {"created", "pending", "running"}),
}


def gitlab(state, path, headers, body):
    if headers.get("PRIVATE-TOKEN") != state.token:
        raise Status(401, {"message": "401 Unauthorized"})
    name, wanted = body.get("name") or body.get("context") or "default", body.get("state")
    if wanted not in GITLAB_EVENTS:
        raise Status(400, {"error": "state does not have a valid value"})
    event, allowed = GITLAB_EVENTS[wanted]
    history = state.statuses[(path, name, body.get("ref"))]
    now = history[-1] if history and history[-1] in ("pending", "running") else "created"  # an ended one is followed by a new one
    if now not in allowed:
        raise Status(400, {"message": 'Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via "%s")' % (event, now, event)})
    history.append(wanted)
    return 201, {"id": len(state.calls), "status": wanted, "name": name, "sha": path.rsplit("/", 1)[1]}


def gitea(state, path, headers, body):
    if headers.get("Authorization") != "token " + state.token:
        raise Status(401, {"message": "token is required", "url": "/api/swagger"})
    if body.get("state") not in ("pending", "success", "error", "failure", "warning"):
        raise Status(422, {"message": "invalid state"})
    state.statuses[(path, body.get("context"), None)].append(body["state"])
    return 201, {"id": len(state.calls), "status": body["state"], "context": body.get("context")}


ROUTES = [
    (re.compile(r"^/api/v1/repos/[^/]+/[^/]+/statuses/[0-9a-f]{40}$"), gitea),
    (re.compile(r"^/api/v4/projects/[^/]+/statuses/[0-9a-f]{40}$"), gitlab),
    (re.compile(r"^/repos/[^/]+/[^/]+/statuses/[0-9a-f]{40}$"), github),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path != "/_/calls":
            return self.answer(404, {"message": "404 Not Found"})
        deadline = time.monotonic() + int(query.get("deadline_ms", 0)) / 1000
        with self.state.lock:
            # A call counts when it was answered; a held one when it came in.
            while len(self.state.calls) < int(query.get("at_least", 0)) and time.monotonic() < deadline:
                self.state.lock.wait(max(0.0, deadline - time.monotonic()))
            out = {"calls": list(self.state.calls), "overlaps": self.state.overlaps, "held": self.state.held}
        self.answer(200, out)

    def do_POST(self):
        data = self.body()
        if self.path.startswith("/_/"):
            return self.control(self.path[3:], json.loads(data or b"{}"))
        path = urllib.parse.urlsplit(self.path).path
        serve = next((fn for pattern, fn in ROUTES if pattern.match(path)), None)
        if not serve:
            return self.answer(404, {"message": "Not Found"})
        try:
            body = json.loads(data)
        except ValueError:
            return self.answer(400, {"message": "Problems parsing JSON"})
        self.status_call(serve, path, body)

    def control(self, what, body):
        with self.state.lock:
            if what == "script":
                self.state.faults.extend(body["faults"])
            elif what == "release":
                self.state.held = 0
                self.state.lock.notify_all()
        if what == "reset":
            self.state.reset()
        self.answer(200, {})

    def status_call(self, serve, path, body):
        state, key = self.state, (path, body.get("context") or body.get("name"))
        call = {"path": path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body, "status": None}
        with state.lock:
            fault = state.faults.popleft() if state.faults else {}
            state.overlaps += 1 if state.running[key] else 0
            state.running[key] += 1
            state.calls.append(call)
            state.lock.notify_all()
            if fault.get("hold"):
                state.held += 1
                state.lock.wait_for(lambda: state.held == 0, 60)
            try:
                if "status" in fault:
                    raise Status(fault["status"], fault.get("body", {"message": "scripted"}), fault.get("headers"))
                status, out = serve(state, path, self.headers, body)
                headers = fault.get("headers", {})
            except Status as s:
                status, out, headers = s.status, s.body, s.headers
            state.running[key] -= 1
            call["status"] = 0 if fault.get("drop") else status
            state.lock.notify_all()
        if fault.get("drop"):  # it may have been taken, and nobody is told
            self.close_connection = True
            self.connection.close()
            return
        try:
            self.answer(status, out, headers)
        except OSError:
            pass  # the caller gave up


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # dropped connections are part of the play


class Forge:
    """A peer in this process: with Forge() as f: … f.url, f.calls(at_least=3)."""

    def __init__(self, token="forge-token", port=0):
        self.state = State(token)
        handler = type("Bound", (Handler,), {"state": self.state})
        self.server = Server(("127.0.0.1", port), handler)
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def script(self, *faults):
        with self.state.lock:
            self.state.faults.extend(faults)

    def calls(self, at_least=0, deadline_s=20):
        """Fails when they do not come."""
        with self.state.lock:
            if not self.state.lock.wait_for(lambda: len(self.state.calls) >= at_least, deadline_s):
                raise AssertionError("%d calls wanted, %d came: %r" % (at_least, len(self.state.calls), self.state.calls))
            return list(self.state.calls)

    def until(self, good, deadline_s=20):
        """The calls, as soon as good(calls)."""
        with self.state.lock:
            if not self.state.lock.wait_for(lambda: good(self.state.calls), deadline_s):
                raise AssertionError("did not come true over %r" % self.state.calls)
            return list(self.state.calls)


# ------------------------------------------------------------------------------------------------ sending webhooks
def hex_hmac(secret, data, md="sha256"):
    return hmac.new(secret.encode(), data, getattr(hashlib, md)).hexdigest()


def standard_key(secret):
    return base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()


def standard_signature(secret, webhook_id, timestamp, body):
    mac = hmac.new(standard_key(secret), webhook_id.encode() + b"." + str(timestamp).encode() + b"." + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def commit(sha, message="Train longer"):
    return {"id": sha, "message": message, "timestamp": "2026-11-20T09:12:00+01:00", "author": {"name": "Ada", "email": "ada@example.org"},
            "added": [], "removed": [], "modified": ["export.py"]}


def push_payload(forge, ref, before, after, commits=None, forced=False, commit_sha=None, pusher="ada"):
    """What the forge says about one push. commit_sha: of the commit behind an annotated tag."""
    deleted, name = after == ZERO, ref.split("/", 2)[-1]
    shas = commits if commits is not None else ([] if deleted else [commit_sha or after])
    head = None if deleted else commit(commit_sha or after)
    if forge == "github":
        return {"ref": ref, "before": before, "after": after, "created": before == ZERO, "deleted": deleted, "forced": forced, "base_ref": None,
                "compare": "https://github.com/acme/digits/compare/x...y", "commits": [commit(s) for s in shas], "head_commit": head,
                "repository": {"id": 1, "full_name": "acme/digits", "clone_url": "https://github.com/acme/digits.git", "default_branch": "main"},
                "pusher": {"name": pusher, "email": "ada@example.org"}, "sender": {"login": pusher, "id": 7}}
    if forge == "gitlab":
        return {"object_kind": "tag_push" if ref.startswith("refs/tags/") else "push", "event_name": "tag_push" if ref.startswith("refs/tags/") else "push",
                "before": before, "after": after, "ref": ref, "ref_protected": True, "checkout_sha": None if deleted else commit_sha or after,
                "user_id": 4, "user_name": "Ada L.", "user_username": pusher, "project_id": 15,
                "project": {"id": 15, "path_with_namespace": "acme/digits", "git_http_url": "https://gitlab.example/acme/digits.git"},
                "commits": [commit(s) for s in shas], "total_commits_count": len(shas)}
    if forge in ("gitea", "forgejo"):
        return {"ref": ref, "before": before, "after": after, "compare_url": "", "commits": [commit(s) for s in shas], "total_commits": len(shas),
                "head_commit": head, "repository": {"id": 3, "full_name": "acme/digits", "clone_url": "https://forge.example/acme/digits.git"},
                "pusher": {"id": 1, "login": pusher, "full_name": "Ada L.", "username": pusher}, "sender": {"login": pusher}}
    if forge == "standard":
        return {"type": "push", "timestamp": "2026-11-20T09:12:00Z",
                "data": {"ref": ref, "before": before, "after": after, "pusher": pusher, "forced": forced, "name": name}}
    raise ValueError(forge)


def encode(payload, form=False):
    text = json.dumps(payload, separators=(",", ":")).encode()
    return urllib.parse.urlencode({"payload": text}).encode() if form else text


def headers_of(forge, event, delivery, body, secret=None, form=False, signed=False, timestamp=None):
    """The whole header set of a delivery. secret None: the hook has none. signed: GitLab's newer form. body: as sent."""
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    if forge == "github":
        h = {"User-Agent": "GitHub-Hookshot/a1b2c3d", "Accept": "*/*", "Content-Type": kind, "X-GitHub-Event": event, "X-GitHub-Delivery": delivery,
             "X-GitHub-Hook-ID": "487112233", "X-GitHub-Hook-Installation-Target-Type": "repository", "X-GitHub-Hook-Installation-Target-ID": "90210"}
        if secret:
            h["X-Hub-Signature"] = "sha1=" + hex_hmac(secret, body, "sha1")
            h["X-Hub-Signature-256"] = "sha256=" + hex_hmac(secret, body)
        return h
    if forge == "gitlab":
        h = {"User-Agent": "GitLab/18.9.1-ee", "Content-Type": "application/json", "X-Gitlab-Event": event,
             "X-Gitlab-Instance": "https://gitlab.example", "X-Gitlab-Webhook-UUID": "6f0a3c52-0000-4000-8000-0000000000aa",
             "X-Gitlab-Event-UUID": "e-" + delivery, "Idempotency-Key": delivery}
        if secret and signed:
            h.update({"webhook-id": delivery, "webhook-timestamp": str(timestamp), "webhook-signature": standard_signature(secret, delivery, timestamp, body)})
        elif secret:
            h["X-Gitlab-Token"] = secret
        return h
    if forge in ("gitea", "forgejo"):
        payload = urllib.parse.parse_qs(body.decode())["payload"][0].encode() if form else body  # these two sign the JSON text, also in a form
        mac = hex_hmac(secret, payload) if secret else ""
        h = {"User-Agent": "Go-http-client/1.1", "Content-Type": kind}
        for brand in (["Forgejo"] if forge == "forgejo" else []) + ["Gitea", "Gogs"]:
            h.update({"X-%s-Delivery" % brand: delivery, "X-%s-Event" % brand: event, "X-%s-Event-Type" % brand: event, "X-%s-Signature" % brand: mac})
        h.update({"X-Hub-Signature": "sha1=" + (hex_hmac(secret, payload, "sha1") if secret else ""), "X-Hub-Signature-256": "sha256=" + mac,
                  "X-GitHub-Delivery": delivery, "X-GitHub-Event": event, "X-GitHub-Event-Type": event})
        return h
    if forge == "standard":
        h = {"User-Agent": "acme-git/1", "Content-Type": "application/json", "webhook-id": delivery, "webhook-timestamp": str(timestamp)}
        if secret:
            h["webhook-signature"] = standard_signature(secret, delivery, timestamp, body)
        return h
    raise ValueError(forge)


EVENTS = {"github": "push", "gitea": "push", "forgejo": "push", "gitlab": "Push Hook", "standard": ""}


def event_of(forge, ref):
    return "Tag Push Hook" if forge == "gitlab" and ref.startswith("refs/tags/") else EVENTS[forge]


def post(url, headers, body, timeout=20):
    """(status, JSON answer) of a delivery; bodies go out as they are."""
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.loads(e.read() or b"{}")


def send(url, forge, secret, ref, before, after, delivery, form=False, signed=False, timestamp=None, **more):
    body = encode(push_payload(forge, ref, before, after, **more), form)
    stamp = int(time.time()) if timestamp is None else timestamp
    return post(url, headers_of(forge, event_of(forge, ref), delivery, body, secret, form, signed, stamp), body)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = p.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve")
    serve.add_argument("--port", type=int, default=0)
    serve.add_argument("--token", default="forge-token")
    one = verbs.add_parser("send")
    for name in ("forge", "url", "secret", "ref", "before", "after", "delivery"):
        one.add_argument("--" + name, required=True)
    one.add_argument("--form", action="store_true")
    one.add_argument("--signed", action="store_true")
    a = p.parse_args()
    if a.verb == "serve":
        with Forge(a.token, a.port) as f:
            print("listening %d" % f.port, flush=True)
            sys.stdin.read()
        return 0
    status, answer = send(a.url, a.forge, a.secret, a.ref, a.before, a.after, a.delivery, a.form, a.signed)
    print(status, json.dumps(answer))
    return 0 if status < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
