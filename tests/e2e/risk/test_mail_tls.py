"""Mail through real SMTP servers that speak TLS: STARTTLS and from the first byte, a login, certificates that are and are not trusted, refusals; every failure is seen in the channel's
state, and what waited goes out when it is mended. Certificates are made here; nothing leaves loopback."""
from __future__ import annotations

import signal
import ssl
import subprocess

import pytest

from portolan import Site, wait_for
from receivers import Mailbox

SECRET = "p:ss with blanks and ü"


def certificate(folder, name: str, address: str) -> tuple[str, ssl.SSLContext]:
    """Its own authority."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={address}",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return str(cert), context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return {"good": certificate(folder, "good", "IP:127.0.0.1"), "other": certificate(folder, "other", "IP:127.0.0.1"), "elsewhere": certificate(folder, "elsewhere", "DNS:mail.example.org")}


@pytest.fixture(scope="module")
def site(certificates):
    s = Site()
    try:
        login = s.dir / "smtp"
        login.write_text(f"ci:{SECRET}\n")
        login.chmod(0o600)
        s.settings.update({"smtp-from": "portolan@example.org", "smtp-credentials-file": str(login), "smtp-ca-file": certificates["good"][0], "smtp-url": "smtp://127.0.0.1:9"})
        s.start_daemon()
        s.ok("POST", "/api/v1/notify/channels", {"name": "mail", "kind": "email", "address": "ada@mail.example", "events": ["test"]})
        yield s
    finally:
        s.close()


def through(site, url: str, **settings) -> None:
    """The daemon again, with another way for mails."""
    site.daemons[-1].send_signal(signal.SIGTERM)
    site.daemons[-1].wait(30)
    site.start_daemon(**{"smtp-url": url, **settings})


def tell(site) -> int:
    return site.ok("POST", "/api/v1/notify/channels/mail/test")["id"]


def delivery(site, told: int) -> dict:
    return next(d for d in site.ok("GET", "/api/v1/notify/deliveries?channel=mail&limit=200")["items"] if d["id"] == told)


def channel(site) -> dict:
    return site.ok("GET", "/api/v1/notify/channels")["items"][0]


def failing(site, told: int, *words: str) -> dict:
    """Tried, not taken, kept; and the channel says why."""
    seen = wait_for(f"a failure that says {words}", lambda: (lambda c: c if c["state"] == "failing" and all(w in c["last_error"] for w in words) else None)(channel(site)), 60)
    assert delivery(site, told)["state"] == "open" and seen["fails"] >= 1 and seen["failing_since"] and seen["paused_until"]
    assert SECRET not in seen["last_error"] and SECRET not in site.log()
    return seen


def arrives(site, box, told: int, secure: bool = True) -> None:
    site.sql("UPDATE notify_channel SET paused_until = now() WHERE fails > 0; UPDATE notify_outbox SET not_before = now() WHERE sent_at IS NULL")  # no clock is turned
    wait_for("the mail", lambda: box.to("ada@mail.example"), 60)
    wait_for("noted as sent", lambda: delivery(site, told)["state"] == "sent", 30)
    now = wait_for("all is well", lambda: (lambda c: c if c["state"] == "ok" else None)(channel(site)), 30)
    assert now["fails"] == 0 and now["last_error"] is None and now["paused_until"] is None
    assert all(bool(v) == secure for v in box.secure) and all(v in ("TLSv1.2", "TLSv1.3") for v in box.secure if v)


def test_starttls_with_a_login(site, certificates):
    box = Mailbox("ci", SECRET, "starttls", certificates["good"][1])
    through(site, f"smtp://127.0.0.1:{box.port}")
    arrives(site, box, tell(site))
    assert box.logins == ["ci"]
    box.close()


def test_tls_from_the_first_byte(site, certificates):
    box = Mailbox("ci", SECRET, "tls", certificates["good"][1])
    through(site, f"smtps://127.0.0.1:{box.port}")
    arrives(site, box, tell(site))
    box.close()


def test_a_certificate_of_another_authority_is_refused_and_the_mail_waits(site, certificates):
    box = Mailbox("ci", SECRET, "starttls", certificates["other"][1])
    through(site, f"smtp://127.0.0.1:{box.port}")
    told = tell(site)
    failing(site, told, "certificate is not trusted", "smtp-ca-file")
    assert not box.logins and not box.mails, "nothing was said to it"
    through(site, f"smtp://127.0.0.1:{box.port}", **{"smtp-ca-file": certificates["other"][0]})
    arrives(site, box, told)
    box.close()


def test_a_certificate_of_another_host_is_refused(site, certificates):
    box = Mailbox("ci", SECRET, "tls", certificates["elsewhere"][1])
    through(site, f"smtps://127.0.0.1:{box.port}", **{"smtp-ca-file": certificates["elsewhere"][0]})
    told = tell(site)
    failing(site, told, "certificate is not trusted", "the host must be one that the certificate is for")
    assert not box.logins
    box.close()
    box = Mailbox("ci", SECRET, "tls", certificates["good"][1])
    through(site, f"smtps://127.0.0.1:{box.port}")
    arrives(site, box, told)
    box.close()


def test_beyond_loopback_nothing_goes_without_tls(site):
    # 127.0.0.2 is none of the names that pass for this machine
    box = Mailbox("ci", SECRET, host="127.0.0.2")
    through(site, f"smtp://127.0.0.2:{box.port}")
    told = tell(site)
    failing(site, told, "offers no TLS", "smtps://")
    assert not box.logins and not box.mails, "neither login nor mail in the clear"
    box.close()
    box = Mailbox("ci", SECRET)
    through(site, f"smtp://127.0.0.1:{box.port}")
    arrives(site, box, told, secure=False)
    box.close()


def test_a_refused_login_is_told_and_the_mail_waits(site, certificates):
    box = Mailbox("ci", "another", "starttls", certificates["good"][1])
    through(site, f"smtp://127.0.0.1:{box.port}")
    told = tell(site)
    failing(site, told, "login", "535", "smtp-credentials-file")
    assert not box.mails
    box.close()
    box = Mailbox("ci", SECRET, "starttls", certificates["good"][1])
    through(site, f"smtp://127.0.0.1:{box.port}")
    arrives(site, box, told)
    box.close()


def test_recipients_refused_for_now_and_for_good(site, certificates):
    box = Mailbox("ci", SECRET, "starttls", certificates["good"][1])
    box.refuse = lambda address: "451 come back later"
    through(site, f"smtp://127.0.0.1:{box.port}")
    told = tell(site)
    failing(site, told, "451")
    box.refuse = lambda address: None
    arrives(site, box, told)
    box.refuse = lambda address: "550 no such user"
    told = tell(site)
    wait_for("given up", lambda: delivery(site, told)["state"] == "gave_up", 30)
    now = channel(site)
    assert now["state"] == "refused" and "refuses mail to ada@mail.example" in now["last_error"] and "550" in now["last_error"]
    box.refuse = lambda address: None
    arrives(site, box, tell(site))
    box.close()


def test_a_channel_that_fails_for_days_is_tried_alone_and_what_is_too_old_is_given_up(site, certificates):
    through(site, "smtp://127.0.0.1:9")  # nobody listens
    site.ok("PATCH", "/api/v1/notify/channels/mail", {"events": []})
    plant = "INSERT INTO notify_outbox (channel_id, event, key, data, created_at, not_before) SELECT c.id, 'comment', 'old ' || i, '{{\"stage\": \"s\"}}', now() - {age}::interval, now() FROM notify_channel c, generate_series({a}, {b}) i"
    site.sql(plant.format(age="'1 minute'", a=1, b=40))
    wait_for("a failure", lambda: channel(site)["fails"] >= 2, 60)
    wait_for("no more than one is tried while it fails", lambda: site.sql("SELECT count(*) FILTER (WHERE tries > 1) <= 1 AND max(tries) >= 3 FROM notify_outbox WHERE key LIKE 'old %'") == "t", 60)
    site.sql("UPDATE notify_channel SET failing_since = now() - interval '6 days', paused_until = now() + interval '1 hour'")
    site.sql(plant.format(age="'5 days 1 hour'", a=41, b=50))
    through(site, "smtp://127.0.0.1:9")  # what is old is looked for when a daemon starts, and each hour
    wait_for("the old ones given up", lambda: site.sql("SELECT count(*) FROM notify_outbox WHERE gave_up_at IS NOT NULL AND last_error LIKE '%nothing for five days%'") == "10", 60)
    assert site.sql("SELECT count(*) FROM notify_outbox WHERE gave_up_at IS NULL AND sent_at IS NULL AND key LIKE 'old %'") == "40", "the others are kept"
    box = Mailbox("ci", SECRET, "starttls", certificates["good"][1])
    through(site, f"smtp://127.0.0.1:{box.port}")
    site.sql("UPDATE notify_channel SET paused_until = now()")
    wait_for("all of them", lambda: site.sql("SELECT count(*) FROM notify_outbox WHERE sent_at IS NULL AND gave_up_at IS NULL") == "0", 60)
    assert len(box.to("ada@mail.example")) <= 5, "one to see whether it works, then the rest together"
    box.close()


def test_another_address_begins_anew(site):
    site.sql("UPDATE notify_channel SET fails = 7, failing_since = now(), paused_until = now() + interval '1 hour', last_error = 'x'")
    assert site.ok("PATCH", "/api/v1/notify/channels/mail", {"digest": "none"})["fails"] == 7
    changed = site.ok("PATCH", "/api/v1/notify/channels/mail", {"address": "grace@mail.example"})
    assert (changed["state"], changed["fails"], changed["paused_until"], changed["last_error"]) == ("ok", 0, None, None)


def test_quiet_hours_end_by_the_clock_on_the_wall_when_clocks_are_changed(site):
    """`notify_later` is what moves a message on: from 01:30 till 07:00 of the same local day, in the nights in which Vienna's and New York's clocks are changed, and in which Tokyo's are not."""
    def later(at: str, zone: str, hours: float) -> str:
        return site.sql(f"SELECT to_char(notify_later('{at}', '{zone}', {hours * 3600}) AT TIME ZONE '{zone}', 'YYYY-MM-DD HH24:MI')")
    assert later("2026-03-29T00:30:00Z", "Europe/Vienna", 5.5) == "2026-03-29 07:00", "an hour is left out"
    assert later("2026-10-25T00:30:00Z", "Europe/Vienna", 4.5) == "2026-10-25 07:00", "from 02:30 summer time: an hour comes twice"
    assert later("2026-10-24T23:30:00Z", "Europe/Vienna", 5.5) == "2026-10-25 07:00"
    assert later("2026-03-08T06:30:00Z", "America/New_York", 5.5) == "2026-03-08 07:00"
    assert later("2026-03-28T16:30:00Z", "Asia/Tokyo", 5.5) == "2026-03-29 07:00"
    assert later("2026-03-29T00:50:00Z", "Europe/Vienna", 0.5) == "2026-03-29 03:20", "what there is not is taken an hour later"
    assert site.sql("SELECT bool_and(notify_later(t, 'Europe/Vienna', s) >= t) FROM generate_series('2026-10-24T20:00Z'::timestamptz, '2026-10-25T06:00Z', '7 minutes') t, generate_series(0, 40000, 900) s") == "t", "never back"
