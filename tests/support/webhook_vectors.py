#!/usr/bin/env python3
"""Writes tests/unit/test_webhook_vectors.h and the seeds of tests/fuzz/corpora/fuzz_webhook/.

Signatures come from Python's hmac (forge.py), independent of the C code under test. Two vectors are not ours: GitHub's documented
example and the one that the Standard Webhooks libraries share. Run it from the root of the repository; the results are committed.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import forge as f  # noqa: E402

NOW = 1795424400  # 2026-11-23T09:00:00Z
SECRET = "correct horse battery staple"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD, NEW, TAG = "1" * 40, "2a" * 20, "3b" * 20
MAIN = "refs/heads/main"
vectors = []


def add(label, headers, body, expect="OK", secret=SECRET, now=NOW, forge="", event="", delivery="", step="verify", says=None):
    """expect: OK, MALFORMED, UNSIGNED (step open) or DENIED (step verify). says: must stand in the sentence."""
    vectors.append({"label": label, "headers": headers, "body": body, "secret": secret, "now": now, "expect": expect, "forge": forge,
                    "event": event, "id": delivery, "says": says})


def without(headers, *names):
    return {k: v for k, v in headers.items() if k not in names}


def changed(headers, **values):
    out = dict(headers)
    out.update({k.replace("_", "-"): v for k, v in values.items()})
    return out


def body_of(forge, ref=MAIN, before=OLD, after=NEW, form=False, **more):
    return f.encode(f.push_payload(forge, ref, before, after, **more), form)


def positives():
    for forge in ("github", "gitea", "forgejo", "gitlab", "standard"):
        body = body_of(forge)
        h = f.headers_of(forge, f.event_of(forge, MAIN), "d-%s-1" % forge, body, SECRET, timestamp=NOW)
        add("%s: a push" % forge, h, body, forge=forge, event=f.event_of(forge, MAIN) or "webhook", delivery="d-%s-1" % forge)
        lower = {k.lower(): v for k, v in h.items()}
        add("%s: header names in lower case, as HTTP/2 proxies write them" % forge, lower, body, forge=forge, delivery="d-%s-1" % forge)
    for forge in ("github", "gitea", "forgejo"):
        body = body_of(forge, form=True)
        h = f.headers_of(forge, "push", "d-form", body, SECRET, form=True)
        add("%s: form body" % forge, h, body, forge=forge, delivery="d-form")
        add("%s: form body, charset in the type" % forge, changed(h, Content_Type="application/x-www-form-urlencoded; charset=utf-8"), body, forge=forge)
    for secret in (SECRET, WHSEC):
        body = body_of("gitlab")
        h = f.headers_of("gitlab", "Push Hook", "9c1d", body, secret, signed=True, timestamp=NOW)
        add("gitlab: signed form, secret %s…" % secret[:6], h, body, secret=secret, forge="gitlab", event="Push Hook", delivery="9c1d")
    body = body_of("gitlab")
    h = f.headers_of("gitlab", "Push Hook", "9c1d", body, WHSEC)
    add("gitlab: token form with a secret that starts with whsec_: the text itself", h, body, secret=WHSEC, forge="gitlab", delivery="9c1d")
    body = body_of("standard")
    h = f.headers_of("standard", "", "msg_1", body, WHSEC, timestamp=NOW)
    other = f.standard_signature("whsec_" + "A" * 32, "msg_1", NOW, body)
    add("standard: whsec_ secret", h, body, secret=WHSEC, forge="standard", delivery="msg_1")
    add("standard: two v1 signatures, the second one right", changed(h, webhook_signature=other + " " + h["webhook-signature"]), body, secret=WHSEC)
    add("standard: two v1 signatures, the first one right", changed(h, webhook_signature=h["webhook-signature"] + " " + other), body, secret=WHSEC)
    add("standard: a signature of another version before the right one", changed(h, webhook_signature="v1a,hn0k " + h["webhook-signature"]), body, secret=WHSEC)
    for off in (-300, 300):
        add("standard: %d s of skew" % off, h, body, secret=WHSEC, now=NOW + off)
    add("github's documented example", {"X-GitHub-Event": "push", "X-GitHub-Delivery": "doc", "Content-Type": "application/json",
        "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, b"Hello, World!",
        secret="It's a Secret to Everybody", forge="github")
    add("the Standard Webhooks libraries' own vector", {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, b'{"test": 2432232314}', secret=WHSEC, now=1614265330, forge="standard")
    body = b'{"ref":"\xff\xfe"}'
    add("github: a body that is not UTF-8 is signed like any other (and refused when parsed)", f.headers_of("github", "push", "utf", body, SECRET), body)
    body = body_of("github")
    h = f.headers_of("github", "push", "many", body, SECRET)
    add("github: no Content-Type counts as JSON", without(h, "Content-Type"), body, forge="github")
    body = body_of("forgejo")
    h = f.headers_of("forgejo", "push", "fj", body, SECRET)
    add("forgejo: detected before Gitea, GitHub and Gogs, whose headers it sends too", h, body, forge="forgejo")
    add("forgejo: an old one without X-Forgejo-Signature signs with Gitea's", without(h, "X-Forgejo-Signature"), body, forge="forgejo")
    add("forgejo: only its own signature counts", changed(h, X_Gitea_Signature="0" * 64), body, forge="forgejo")
    body = body_of("gitlab")
    h = without(f.headers_of("gitlab", "Push Hook", "x", body, SECRET), "Idempotency-Key")
    add("gitlab: before 17.4, no Idempotency-Key", h, body, forge="gitlab", delivery="e-x-" + f.hashlib.sha256(body).hexdigest()[:16])
    add("gitlab: neither key nor event UUID", without(h, "X-Gitlab-Event-UUID"), body, forge="gitlab", delivery="body-" + f.hashlib.sha256(body).hexdigest())
    body = b"{}"
    add("github: ping", f.headers_of("github", "ping", "p", body, SECRET), body, forge="github", event="ping")


def negatives():
    for forge in ("github", "gitea", "forgejo", "gitlab", "standard"):
        body = body_of(forge)
        event = f.event_of(forge, MAIN)
        h = f.headers_of(forge, event, "d-1", body, SECRET, timestamp=NOW)
        proof = {"github": "X-Hub-Signature-256", "gitea": "X-Gitea-Signature", "forgejo": "X-Forgejo-Signature", "gitlab": "X-Gitlab-Token",
                 "standard": "webhook-signature"}[forge]
        gone = [proof] + (["X-Hub-Signature"] if forge == "github" else ["X-Gitea-Signature"] if forge == "forgejo" else [])
        add(forge + ": wrong secret", h, body, "DENIED", secret=SECRET + " ")
        add(forge + ": secret of other length", h, body, "DENIED", secret="c")
        add(forge + ": the project has no secret", h, body, "DENIED", secret=None, says="no webhook secret")
        add(forge + ": the project's secret is empty", h, body, "DENIED", secret="", says="no webhook secret")
        add(forge + ": empty proof", changed(h, **{proof: ""}), body, "UNSIGNED", says="is empty")
        add(forge + ": empty proof, and the project has no secret", changed(h, **{proof: ""}), body, "UNSIGNED", secret=None, says="is empty")
        add(forge + ": no proof", without(h, *gone), body, "UNSIGNED" if forge != "gitlab" else "UNSIGNED", says="is missing")
        if forge != "gitlab":  # a token does not cover the body
            add(forge + ": one byte of the body changed", h, body[:-2] + b" }", "DENIED")
            add(forge + ": one byte more", h, body + b"\n", "DENIED")
            add(forge + ": body cut", h, body[:-1], "DENIED")
            add(forge + ": empty body", h, b"", "DENIED")
    for forge in ("github", "gitea", "forgejo"):
        body = body_of(forge)
        h = f.headers_of(forge, "push", "d-1", body, SECRET)
        proof = {"github": "X-Hub-Signature-256", "gitea": "X-Gitea-Signature", "forgejo": "X-Forgejo-Signature"}[forge]
        prefix, mac = ("sha256=", h[proof][7:]) if forge == "github" else ("", h[proof])
        add(forge + ": truncated signature", changed(h, **{proof: prefix + mac[:-1]}), body, "UNSIGNED", says="64 lower-case hex")
        add(forge + ": signature with one digit more", changed(h, **{proof: prefix + mac + "0"}), body, "UNSIGNED")
        add(forge + ": upper-case hex", changed(h, **{proof: prefix + mac.upper()}), body, "UNSIGNED", says="lower-case")
        add(forge + ": prefix only", changed(h, **{proof: "sha256="}), body, "UNSIGNED")
        add(forge + ": the other kind of prefix", changed(h, **{proof: mac if prefix else "sha256=" + mac}), body, "UNSIGNED")
        add(forge + ": all zeros", changed(h, **{proof: prefix + "0" * 64}), body, "DENIED")
        add(forge + ": a signature made without a key", changed(h, **{proof: prefix + f.hex_hmac("", body)}), body, "DENIED")
        add(forge + ": no delivery id", without(h, {"github": "X-GitHub-Delivery", "gitea": "X-Gitea-Delivery", "forgejo": "X-Forgejo-Delivery"}[forge]),
            body, "MALFORMED", says="Delivery")
        add(forge + ": a delivery id with a space", {k: "a b" if k.endswith("-Delivery") else v for k, v in h.items()}, body, "MALFORMED")
        add(forge + ": an endless delivery id", {k: "a" * 200 if k.endswith("-Delivery") else v for k, v in h.items()}, body, "MALFORMED")
        add(forge + ": no event", without(h, {"github": "X-GitHub-Event", "gitea": "X-Gitea-Event", "forgejo": "X-Forgejo-Event"}[forge]), body,
            "MALFORMED", says="Event")
        form = body_of(forge, form=True)
        hf = f.headers_of(forge, "push", "d-1", form, SECRET, form=True)
        add(forge + ": form body without payload", hf, b"x=1", "MALFORMED", says="payload")
        add(forge + ": form body with two payloads", hf, form + b"&" + form, "MALFORMED", says="two")
        add(forge + ": form body with half an escape", hf, form + b"%2", "MALFORMED", says="hex")
        if forge != "github":
            add(forge + ": form body signed over the encoded bytes, as GitHub does", changed(hf, **{proof: f.hex_hmac(SECRET, form)}), form, "DENIED")
    body = body_of("github")
    h = f.headers_of("github", "push", "d-1", body, SECRET)
    add("github: SHA-1 alone", without(h, "X-Hub-Signature-256"), body, "UNSIGNED", says="SHA-1")
    add("github: SHA-1 in the SHA-256 header", changed(h, X_Hub_Signature_256=h["X-Hub-Signature"]), body, "UNSIGNED")
    add("github: text/plain", changed(h, Content_Type="text/plain"), body, "MALFORMED", says="text/plain")
    add("github: form body signed over the payload, as Gitea does", changed(f.headers_of("github", "push", "d", body_of("github", form=True), SECRET, form=True),
        X_Hub_Signature_256="sha256=" + f.hex_hmac(SECRET, body)), body_of("github", form=True), "DENIED")
    body = body_of("gitea")
    h = f.headers_of("gitea", "push", "d-1", body, SECRET)
    add("gitea: X-Hub-Signature-256 is right, its own signature is not", changed(h, X_Gitea_Signature="0" * 64), body, "DENIED")
    add("gitea: X-Hub-Signature-256 is right, its own signature is empty", changed(h, X_Gitea_Signature=""), body, "UNSIGNED", says="is empty")
    body = body_of("forgejo")
    h = f.headers_of("forgejo", "push", "d-1", body, SECRET)
    add("forgejo: Gitea's signature is right, its own is wrong", changed(h, X_Forgejo_Signature="0" * 64), body, "DENIED")
    add("forgejo: Gitea's signature is right, its own is empty", changed(h, X_Forgejo_Signature=""), body, "UNSIGNED")
    no_secret = f.headers_of("gitea", "push", "d-1", body_of("gitea"), None)
    add("gitea: a hook without a secret (empty values of its headers)", no_secret, body_of("gitea"), "UNSIGNED", says="webhook_secret")
    body = body_of("gitlab")
    h = f.headers_of("gitlab", "Push Hook", "d-1", body, SECRET)
    add("gitlab: beginning of the token", changed(h, X_Gitlab_Token=SECRET[:-1]), body, "DENIED")
    add("gitlab: token with a byte more", changed(h, X_Gitlab_Token=SECRET + "x"), body, "DENIED")
    add("gitlab: a right token does not outweigh a wrong signature", {**f.headers_of("gitlab", "Push Hook", "d-1", body, "other", signed=True, timestamp=NOW),
        "X-Gitlab-Token": SECRET}, body, "DENIED")
    add("gitlab: a right token does not outweigh an empty signature", {**h, "webhook-id": "d-1", "webhook-timestamp": str(NOW), "webhook-signature": ""}, body, "UNSIGNED")
    for forge, signed in (("gitlab", True), ("standard", False)):
        body = body_of(forge)
        h = f.headers_of(forge, f.event_of(forge, MAIN), "d-1", body, SECRET, signed=signed, timestamp=NOW)
        name = forge + (" (signed)" if signed else "")
        add(name + ": 301 s old, a replay", h, body, "UNSIGNED", now=NOW + 301, says="behind")
        add(name + ": 301 s ahead", h, body, "UNSIGNED", now=NOW - 301, says="ahead")
        add(name + ": another timestamp than the signed one", changed(h, webhook_timestamp=str(NOW + 1)), body, "DENIED")
        add(name + ": another id than the signed one", changed(h, webhook_id="d-2"), body, "DENIED")
        add(name + ": no id", without(h, "webhook-id"), body, "MALFORMED", says="webhook-id")
        add(name + ": no timestamp", without(h, "webhook-timestamp"), body, "UNSIGNED", says="webhook-timestamp")
        for bad in ("", "now", "-1", "1e9", "0x6b3f", "9" * 13, str(NOW) + " "):
            add(name + ": timestamp '%s'" % bad, changed(h, webhook_timestamp=bad), body, "UNSIGNED")
        add(name + ": an id with a dot", changed(h, webhook_id="d.1"), body, "MALFORMED", says="dot")
        add(name + ": signature without version", changed(h, webhook_signature=h["webhook-signature"][3:]), body, "UNSIGNED")
        add(name + ": only a version unknown here", changed(h, webhook_signature="v1a," + h["webhook-signature"][3:]), body, "UNSIGNED")
        add(name + ": truncated signature", changed(h, webhook_signature=h["webhook-signature"][:-4]), body, "DENIED")
        add(name + ": two wrong signatures", changed(h, webhook_signature="v1,%s v1,%s" % ("A" * 43 + "=", "B" * 43 + "=")), body, "DENIED")
        add(name + ": an endless signature", changed(h, webhook_signature="v1," + "A" * 5000), body, "DENIED")
        add(name + ": v1 with nothing behind it", changed(h, webhook_signature="v1,"), body, "DENIED")
    body = body_of("standard")
    add("standard: whsec_ secret that is no base64", f.headers_of("standard", "", "d-1", body, SECRET, timestamp=NOW), body, "DENIED",
        secret="whsec_!!", says="base64")
    add("standard: whsec_ with nothing behind it", f.headers_of("standard", "", "d-1", body, SECRET, timestamp=NOW), body, "DENIED", secret="whsec_")
    add("nobody's delivery", {"Content-Type": "application/json", "User-Agent": "curl/8"}, b"{}", "MALFORMED", says="X-Forgejo-Event")
    add("Gogs alone is not spoken", {"X-Gogs-Event": "push", "X-Gogs-Delivery": "1", "X-Gogs-Signature": "0" * 64}, b"{}", "MALFORMED")


def c_string(data):
    data = data if isinstance(data, bytes) else data.encode()
    out = "".join("\\%03o" % b if b < 32 or b > 126 else "\\" + chr(b) if chr(b) in '"\\?' else chr(b) for b in data)
    return '"%s"' % out


def write_header(path):
    out = ["/* Made by tests/support/webhook_vectors.py; do not edit. Signatures by Python's hmac. */", "/* clang-format off */",
           "static const struct vector vectors[] = {"]
    for v in vectors:
        headers = ", ".join("{%s, %s}" % (c_string(k), c_string(x)) for k, x in v["headers"].items())
        out.append("    {%s,\n     {%s},\n     %s, %d, %s, %d, %s, %s, %s, %s, %s}," % (
            c_string(v["label"]), headers, c_string(v["body"]), len(v["body"]), "NULL" if v["secret"] is None else c_string(v["secret"]), v["now"],
            "0" if v["expect"] == "OK" else "PTL_WEBHOOK_" + v["expect"],
            *(c_string(v[k]) if v[k] else "NULL" for k in ("forge", "event", "id", "says"))))
    out += ["};", "", "/* What `git check-ref-format` said. */", "static const struct { const char *ref; bool valid; } refs[] = {"]
    for ref in REFS:
        good = subprocess.run(["git", "check-ref-format", ref], check=False).returncode == 0
        out.append("    {%s, %s}," % (c_string(ref), "true" if good else "false"))
    out += ["};", "/* clang-format on */", ""]
    with open(path, "w") as file:
        file.write("\n".join(out))


REFS = ["refs/heads/" + n for n in (
    "main", "a/b", "release/1.2", "v1.0.0", "ünïcode", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a]b", "a\\b", "a..b", "a.", ".a", "a/.b", "a./b", "a//b",
    "/a", "a/", "a.lock", "a.lock/b", "a.lockx", ".lock", "x/.lock", "lock", "@", "@{", "a@{b", "a@b", "a{b", "-x", "a\x7fb", "a\tb", "a\nb", "a;b", "$(id)", "`id`", "a|b", "a&b",
    "a'b", 'a"b', "a<b>", "a%2e%2e", "", "a" * 200)] + ["refs/tags/v1", "refs/tags/", "refs/", "refs", "refs/x", "refs/pull/1/head", "refs//heads/x", "refs/heads/../x"]


def seeds(folder):
    """line 1: secret, header lines, empty line, body"""
    os.makedirs(folder, exist_ok=True)
    good = [v for v in vectors if v["expect"] == "OK"]
    bad = [v for v in vectors if v["expect"] != "OK"]
    for n, v in enumerate(good + bad[::8]):
        name = "%03d" % n
        with open(os.path.join(folder, name), "wb") as file:
            file.write((v["secret"] or "").encode() + b"\n")
            for k, x in v["headers"].items():
                file.write(("%s: %s\n" % (k, x)).encode())
            file.write(b"\n" + v["body"])


if __name__ == "__main__":
    positives()
    negatives()
    assert len({v["label"] for v in vectors}) == len(vectors), "two vectors with one label"
    write_header("tests/unit/test_webhook_vectors.h")
    seeds("tests/fuzz/corpora/fuzz_webhook")
    print("%d vectors, %d refs" % (len(vectors), len(REFS)), json.dumps({e: sum(v["expect"] == e for v in vectors) for e in ("OK", "MALFORMED", "UNSIGNED", "DENIED")}))
