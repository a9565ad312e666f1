"""Telling people: mail through a real SMTP server, chat and webhooks to a real HTTP server; what is told, to whom, when, once, and in spite of kills."""
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal

import pytest

from pipelines import BROKEN, FILES, TWO
from portolan import Site, wait_for
from receivers import Hooks, Mailbox


@pytest.fixture(scope="module")
def mailbox():
    m = Mailbox("ci", "p:ss")
    yield m
    m.close()


@pytest.fixture(scope="module")
def hooks():
    h = Hooks()
    yield h
    h.close()


@pytest.fixture(scope="module")
def site(mailbox):
    s = Site()
    try:
        secret = s.dir / "smtp"
        secret.write_text("ci:p:ss\n")
        secret.chmod(0o600)
        s.settings.update({"smtp-url": f"smtp://127.0.0.1:{mailbox.port}", "smtp-from": "portolan@example.org", "smtp-credentials-file": str(secret), "public-url": "https://ci.example.org"})
        s.start_daemon()
        s.start_agent("server-1", slots="2")
        wait_for("the knowledge base", lambda: int(s.sql("SELECT count(*) FROM challenge")) > 90, 60)
        yield s
    finally:
        s.close()


def channel(site, name: str, token: str | None = None, **body) -> dict:
    return site.ok("POST", "/api/v1/notify/channels", {"name": name, **body}, token=token)


def deliveries(site, name: str) -> list[dict]:
    return site.ok("GET", f"/api/v1/notify/deliveries?channel={name}&limit=200")["items"]


@pytest.fixture(scope="module")
def red(site, tokens, mailbox, hooks):
    """A failure that is told on every kind of channel."""
    site.ok("POST", "/api/v1/people", {"name": "ada", "display_name": "Ada", "emails": ["ada@example.org"], "tokens": ["ada"]})
    site.ok("POST", "/api/v1/people", {"name": "grace", "display_name": "Grace", "tokens": ["grace"]})
    channel(site, "ada-mail", tokens["ada"], kind="email", person="me", address="ada@mail.example")
    channel(site, "grace-mail", tokens["grace"], kind="email", person="me", address="grace@mail.example")
    channel(site, "room", kind="chat", url=hooks.url + "/services/T0/secret-part")
    channel(site, "matrix", kind="chat", url=hooks.url + "/matrix?access_token=xyz", template=json.dumps({"msgtype": "m.text", "body": "{text}"}), events=["failed"])
    secret = channel(site, "hook", kind="webhook", url=hooks.url + "/hook")["secret"]
    site.project("told", TWO, {**FILES, "check.sh": BROKEN})
    run = site.run("told")
    site.until(run, "red")
    stage = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run, "verify/web")), 30)
    return {**stage, "run_id": run, "hook_secret": secret}


def test_a_failure_is_told_by_mail_to_who_committed_it(site, red, mailbox):
    mail = wait_for("the mail", lambda: mailbox.to("ada@mail.example"), 30)[0]
    text = mail.get_content()
    assert mail["Subject"].startswith("[portolan] told#1 verify/web failed") and mail["From"] == "Portolan <portolan@example.org>" and mail.sender == "portolan@example.org"
    assert "Why it failed: " in text and "> ValueError: Didn't find op" in text and f"Look: https://ci.example.org/runs/{red['run_id']}" in text
    assert "portolan notify channel remove ada-mail" in text, "how to stop it"
    assert mailbox.logins[0] == "ci", "with the credentials of the file"
    assert not mailbox.to("grace@mail.example"), "whom it does not concern is not told"


def test_a_stage_that_no_agent_took_is_told_too(site, red, mailbox):
    before = len(mailbox.to("ada@mail.example"))
    site.project("untaken", TWO.replace("export:\n", "export:\n  labels: [nowhere]\n  queue-timeout: 1s\n"), FILES)
    run = site.run("untaken")
    site.until(run, "red")
    mail = wait_for("the mail", lambda: mailbox.to("ada@mail.example")[before:], 30)[0]
    assert mail["Subject"].startswith("[portolan] untaken#1 export failed") and "queue-timeout" in mail.get_content(), mail.get_content()


def test_chat_and_webhook_forms(site, red, hooks):
    room = wait_for("the chat line", lambda: hooks.at("/services/T0/secret-part"), 30)[0]
    assert room["json"]["text"].startswith("told#1 verify/web failed") and "remove room" not in room["json"]["text"]
    matrix = wait_for("the other chat", lambda: hooks.at("/matrix?access_token=xyz"), 30)[0]
    assert matrix["json"]["msgtype"] == "m.text" and "Didn't find op" in matrix["json"]["body"]
    hook = wait_for("the webhook", lambda: hooks.at("/hook"), 30)[0]
    assert hook["json"]["type"] == "portolan.failed" and hook["json"]["data"]["stage"] == "verify/web" and hook["json"]["data"]["url"].endswith(f"/runs/{red['run_id']}")
    headers = {k.lower(): v for k, v in hook["headers"].items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + hook["raw"]
    wanted = base64.b64encode(hmac.new(base64.b64decode(red["hook_secret"].removeprefix("whsec_")), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"


def test_secrets_are_not_shown(site, red):
    listed = json.dumps(site.ok("GET", "/api/v1/notify/channels"))
    assert "secret-part" not in listed and "access_token" not in listed and red["hook_secret"] not in listed
    assert site.sql("SELECT count(*) FROM notify_channel WHERE encode(url, 'escape') LIKE '%secret-part%' OR encode(secret, 'escape') LIKE '%whsec%' OR address LIKE '%secret-part%'") == "0"
    assert "secret-part" not in site.log() and "p:ss" not in site.log() and "access_token" not in site.log()


def test_assignments_are_told_to_whom_they_concern(site, red, tokens, mailbox, hooks):
    before = len(mailbox.to("ada@mail.example"))
    given = site.ok("POST", "/api/v1/assignments", {"stage_id": red["id"], "person": "grace", "comment": "you know this one"}, token=tokens["mona"])
    mail = wait_for("the mail", lambda: mailbox.to("grace@mail.example"), 30)[0]
    text = mail.get_content()
    assert mail["Subject"] == "[portolan] told#1 verify/web: given to Grace" and "By: mona" in text and "Said: you know this one" in text and "> ValueError" in text
    site.ok("PUT", f"/api/v1/assignments/{given['id']}/watch", token=tokens["ada"])
    site.ok("POST", f"/api/v1/assignments/{given['id']}/comments", {"text": "looking into it"}, token=tokens["grace"])
    said = wait_for("the watcher's mail", lambda: mailbox.to("ada@mail.example")[before:], 30)[0]
    assert "comment by grace" in said["Subject"] and "looking into it" in said.get_content()
    assert len(mailbox.to("grace@mail.example")) == 1, "one is not told what one did oneself"
    site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"due_at": "2020-01-01T00:00:00Z"}, token=tokens["mona"])
    late = wait_for("overdue", lambda: [m for m in mailbox.to("grace@mail.example") if "overdue" in m["Subject"]], 60)
    assert len(late) == 1 and "2020-01-01 00:00 UTC" in late[0].get_content()
    site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "done"}, token=tokens["grace"])
    wait_for("done, told to the watcher", lambda: [m for m in mailbox.to("ada@mail.example") if m["Subject"].endswith(": done")], 30)
    wait_for("all of it in the room", lambda: len(hooks.at("/services/T0/secret-part")) >= 3, 30)
    assert site.sql("SELECT count(*) FROM (SELECT channel_id, key FROM notify_outbox GROUP BY 1, 2 HAVING count(*) > 1) x") == "0"


def test_a_gate_tells_its_approvers(site, tokens, mailbox):
    site.project("gate", TWO.replace("verify: {run", "verify: {when: manual, approvers: [grace], run"), FILES)
    run = site.run("gate")
    stage = site.until_stage(run, "verify/web", "gated")
    mail = wait_for("the mail", lambda: [m for m in mailbox.to("grace@mail.example") if "waits for an approval" in m["Subject"]], 30)[0]
    assert f"portolan stage approve {stage['id']}" in mail.get_content()
    site.ok("POST", f"/api/v1/stages/{stage['id']}/approve", token=tokens["grace"])
    site.until(run, "green")


def test_quiet_hours_and_digest(site, red, tokens, mailbox):
    hour = int(site.sql("SELECT extract(hour FROM now() AT TIME ZONE 'Asia/Tokyo')::int"))
    site.ok("PATCH", "/api/v1/notify/channels/grace-mail", {"quiet_from": f"{hour:02d}:00", "quiet_to": f"{(hour + 2) % 24:02d}:00", "time_zone": "Asia/Tokyo"}, token=tokens["grace"])
    site.ok("PATCH", "/api/v1/notify/channels/ada-mail", {"digest": "daily", "digest_hour": 9}, token=tokens["ada"])
    before = {a: len(mailbox.to(a)) for a in ("grace@mail.example", "ada@mail.example")}
    given = site.ok("POST", "/api/v1/assignments", {"stage_id": red["id"], "person": "grace"}, token=tokens["mona"])
    site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "reassign", "person": "ada"}, token=tokens["mona"])
    site.ok("POST", f"/api/v1/assignments/{given['id']}/comments", {"text": "one more"}, token=tokens["mona"])
    held = lambda name: [d for d in deliveries(site, name) if d["state"] == "open"]
    wait_for("held back", lambda: len(held("grace-mail")) == 2 and len(held("ada-mail")) == 2 and all(d["not_before"] > d["created_at"][:19] + "~" or d["tries"] == 0 for d in held("grace-mail")), 30)
    wait_for("moved to a later time", lambda: site.sql("SELECT count(*) FROM notify_outbox WHERE sent_at IS NULL AND not_before > now() + interval '20 minutes' AND tries = 0") == "4", 30)
    assert {a: len(mailbox.to(a)) for a in before} == before, "nothing goes out in quiet hours or before the digest"
    # the day after: both at once, as one mail. What lies in the past is moved there, no clock is turned.
    site.sql("UPDATE notify_outbox SET created_at = created_at - interval '2 days', not_before = now() WHERE sent_at IS NULL AND channel_id = (SELECT id FROM notify_channel WHERE name = 'ada-mail')")
    mail = wait_for("the digest", lambda: mailbox.to("ada@mail.example")[before["ada@mail.example"]:], 30)[0]
    assert mail["Subject"] == "[portolan] 2 things: 1 reassigned, 1 comment", mail["Subject"]
    assert "now with Ada" in mail.get_content() and "one more" in mail.get_content()
    site.ok("PATCH", "/api/v1/notify/channels/grace-mail", {"quiet_from": "off"}, token=tokens["grace"])
    site.ok("PATCH", "/api/v1/notify/channels/ada-mail", {"digest": "none"}, token=tokens["ada"])
    site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "done"}, token=tokens["mona"])


def test_what_is_refused_is_tried_again_or_given_up_and_shown(site, tokens, mailbox, hooks):
    hooks.status = lambda path: {"/gone": 404, "/busy": 503}.get(path, 200)
    channel(site, "gone", kind="webhook", url=hooks.url + "/gone", events=["test"])
    channel(site, "busy", kind="webhook", url=hooks.url + "/busy", events=["test"])
    channel(site, "nobox", kind="email", address="nobody@mail.example", events=["test"])
    mailbox.refuse = lambda address: "550 no such user" if address.startswith("nobody") else None
    for name in ("gone", "busy", "nobox"):
        site.ok("POST", f"/api/v1/notify/channels/{name}/test")
    gone = wait_for("given up", lambda: [d for d in deliveries(site, "gone") if d["state"] == "gave_up"], 30)[0]
    assert "answered 404" in gone["last_error"] and gone["tries"] == 1
    box = wait_for("given up", lambda: [d for d in deliveries(site, "nobox") if d["state"] == "gave_up"], 30)[0]
    assert "550" in box["last_error"]
    wait_for("tried again", lambda: len(hooks.at("/busy")) >= 2, 30)
    assert len({h["headers"]["webhook-id"] for h in hooks.at("/busy")}) == 1, "the same id each time, so that the other side can tell"
    hooks.status = lambda path: 200
    wait_for("sent at last", lambda: deliveries(site, "busy")[0]["state"] == "sent", 30)
    shown = next(c for c in site.ok("GET", "/api/v1/notify/channels?limit=200")["items"] if c["name"] == "gone")
    assert shown["gave_up"] == 1 and "404" in shown["last_error"]


def test_a_killed_daemon_loses_nothing(site, tokens, mailbox, hooks):
    channel(site, "steady", kind="webhook", url=hooks.url + "/steady", events=["test"])
    site.daemons[-1].send_signal(signal.SIGSTOP)
    # a happening written by another daemon while this one cannot look: the outbox holds it over a kill
    site.sql("INSERT INTO notify_outbox (channel_id, event, key, data) SELECT id, 'test', 'planted', '{\"actor\": \"x\"}' FROM notify_channel WHERE name = 'steady'")
    site.sql("UPDATE notify_outbox SET sending_until = now() + interval '2 seconds', tries = 1 WHERE key = 'planted'")
    site.daemons[-1].kill()
    site.daemons[-1].wait(10)
    site.start_daemon()
    site.stop_agent("server-1", signal.SIGKILL)  # it knows the port of before
    site.start_agent("server-1", slots="2")
    wait_for("told after the restart", lambda: hooks.at("/steady"), 60)
    wait_for("noted as sent", lambda: deliveries(site, "steady")[0]["state"] == "sent", 30)
    assert len(hooks.at("/steady")) == 1


def test_whose_channels_are_whose(site, tokens, hooks):
    own = channel(site, "grace-chat", tokens["grace"], kind="chat", person="me", url=hooks.url + "/g")
    assert own["person"] == "grace" and own["address"] == hooks.url.split("://")[0] + "://" + hooks.url.split("://")[1] + "/…"
    assert {c["name"] for c in site.ok("GET", "/api/v1/notify/channels", token=tokens["grace"])["items"]} == {"grace-mail", "grace-chat"}
    assert site.call("DELETE", "/api/v1/notify/channels/grace-chat", token=tokens["ada"]).status == 404
    assert site.call("POST", "/api/v1/notify/channels/room/test", token=tokens["ada"]).status == 404
    assert site.call("POST", "/api/v1/notify/channels", {"name": "x", "kind": "chat", "url": hooks.url}, token=tokens["ada"]).status == 403, "shared ones take a manager"
    assert site.call("POST", "/api/v1/notify/channels", {"name": "x", "kind": "chat", "url": hooks.url, "person": "grace"}, token=tokens["ada"]).status == 403
    assert site.call("POST", "/api/v1/notify/channels", {"name": "v", "kind": "email", "address": "v@x.y", "person": "me"}, token=tokens["vic"]).status == 403
    for bad in ({"kind": "email", "address": "a@b\r\nBcc: c@d"}, {"kind": "email", "url": hooks.url}, {"kind": "chat", "url": "ftp://x"}, {"kind": "chat", "url": hooks.url, "template": "{text}"}, {"kind": "pigeon", "address": "a@b"},
                {"kind": "email", "address": "a@b", "events": ["asigned"]}, {"kind": "email", "address": "a@b", "quiet_from": "25:00", "quiet_to": "01:00"}, {"kind": "email", "address": "a@b", "quiet_from": "22:00"},
                {"kind": "email", "address": "a@b", "time_zone": "Mars/Base"}, {"kind": "email", "address": "a@b", "digest": "weekly"}, {"kind": "webhook", "url": hooks.url, "secret": "short"}):
        answer = site.call("POST", "/api/v1/notify/channels", {"name": "bad", **bad})
        assert answer.status == 422, (bad, answer.status, answer.body)
    assert site.call("POST", "/api/v1/notify/channels", {"name": "room", "kind": "chat", "url": hooks.url}).status == 409
    site.ok("DELETE", "/api/v1/notify/channels/grace-chat", token=tokens["grace"])


def test_a_shared_channel_of_a_project_hears_of_that_project_only(site, hooks):
    boxed = site.ok("POST", "/api/v1/tokens", {"name": "boxed", "role": "manager", "project": "told"})["token"]
    made = channel(site, "told-room", boxed, kind="chat", url=hooks.url + "/told")
    assert made["project"] == "told"
    assert {c["name"] for c in site.ok("GET", "/api/v1/notify/channels", token=boxed)["items"]} == {"told-room"}
    site.project("other", TWO, {**FILES, "check.sh": BROKEN})
    run = site.run("other")
    site.until(run, "red")
    wait_for("told in the room of all", lambda: [g for g in hooks.at("/services/T0/secret-part") if "other#1" in g["json"]["text"]], 30)
    assert not hooks.at("/told")


def test_the_command_line_of_it(site, tokens, mailbox, hooks):
    import os
    import subprocess
    from portolan import BUILD
    url = site.dir / "url"
    url.write_text(hooks.url + "/cli\n")

    def cli(*argv: str, expect: int = 0, token: str = tokens["grace"]) -> str:
        done = subprocess.run([str(BUILD / "cli" / "portolan"), *argv], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": token, "HOME": str(site.dir), "XDG_CONFIG_HOME": str(site.dir)})
        assert done.returncode == expect, (argv, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr
    assert "for grace" in cli("notify", "channel", "add", "g2", "--kind", "chat", "--url-file", str(url), "--event", "failed", "--event", "gate")
    assert "taken by the other side" in cli("notify", "channel", "test", "g2") and hooks.at("/cli")
    assert "whsec_" in cli("notify", "channel", "add", "g3", "--kind", "webhook", "--url-file", str(url))
    cli("notify", "channel", "set", "g2", "--digest", "daily", "--quiet-from", "22:00", "--quiet-to", "07:00", "--time-zone", "Europe/Vienna", "--event", "all")
    listed = cli("notify", "channel", "list")
    assert "22:00-07:00 Europe/Vienna" in listed and "daily" in listed
    assert "sent" in cli("notify", "deliveries", "--channel", "g2")
    assert "not there" not in cli("notify", "channel", "remove", "g2") and "no channel" in cli("notify", "channel", "remove", "g2", expect=4)
    hooks.status = lambda path: 410 if path == "/cli" else 200
    assert "answered 410" in cli("notify", "channel", "test", "g3", expect=1)
    assert "410" in cli("notify", "channel", "test", "g3", "--json", expect=1), "scripts look at the exit code"
