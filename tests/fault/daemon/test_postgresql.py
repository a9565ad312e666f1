"""PostgreSQL dies (kill -9) while failures are diagnosed and while history is labelled anew: each is done once, none is forgotten."""
from __future__ import annotations

from portolan import wait_for

UNMOVED = "server/model-export/export-of-unsupported-models"
FAILS = """
version: 1
model: old
export: {run: ["echo RuntimeError: the quern is unmoved >&2; exit 3"], retry: 0}
targets:
  server: {host: server, verify: {run: ["true"]}}
"""


def fail(site) -> int:
    run = site.run("past")
    site.until(run, "red")
    return site.stage(run, "export")["attempt_id"]


def diagnosed(site, attempt: int) -> dict:
    return wait_for(f"attempt {attempt} to be diagnosed", lambda: (lambda a: a if a["diagnosis_state"] == "done" else None)(site.ok("GET", f"/api/v1/attempts/{attempt}")), 120)


def labelled(site) -> dict:
    return wait_for("history to be labelled anew", lambda: (lambda j: j if j["state"] == "done" else None)(site.ok("GET", "/api/v1/kb/apply")), 120)


def test_killed_while_history_is_labelled_anew(own_site):
    site = own_site
    site.start_daemon(**{"relabel-rate": "1"})
    site.start_agent("one")
    site.project("past", FAILS)
    attempts = [fail(site) for _ in range(6)]
    before = {a: diagnosed(site, a) for a in attempts}
    labelled(site)
    site.indicator("unmoved", "the quern is unmoved", UNMOVED, transient=False)
    wait_for("some to be done", lambda: 0 < site.ok("GET", "/api/v1/kb/apply")["done"] < 6)
    site.kill_postgresql()
    job = labelled(site)
    assert (job["total"], job["done"], job["changed"]) == (6, 6, 6), job
    for a in attempts:
        assert site.ok("GET", f"/api/v1/attempts/{a}")["challenge_id"] == UNMOVED
        old = site.ok("GET", f"/api/v1/attempts/{a}/diagnoses")["items"]
        assert [o["diagnosis"] for o in old] == [before[a]["diagnosis"]], "the old answer was kept, once"


def test_killed_while_failures_are_diagnosed(own_site):
    """Many wait for their diagnosis when the database goes: all have one in the end, and what they count for is counted once."""
    site = own_site
    site.start_daemon()
    site.start_agent("one")
    site.project("past", FAILS)
    attempts = [fail(site) for _ in range(3)]
    for a in attempts:
        diagnosed(site, a)
    labelled(site)
    site.indicator("unmoved", "the quern is unmoved", UNMOVED, transient=False)
    labelled(site)
    # A hundred like them, as they stand when their stage has just ended.
    columns = {t: site.sql(f"SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns WHERE table_name = '{t}' AND is_generated = 'NEVER' AND column_name NOT IN ('id', 'fence', 'attempt_id')") for t in ("attempt", "log_chunk")}
    site.sql(f"""WITH made AS (INSERT INTO attempt (fence, {columns['attempt']}) SELECT fence + n, {columns['attempt']} FROM attempt, generate_series(1, 100) n WHERE id = {attempts[0]} RETURNING id)
                 INSERT INTO log_chunk (attempt_id, {columns['log_chunk']}) SELECT made.id, {columns['log_chunk']} FROM made, log_chunk WHERE attempt_id = {attempts[0]}""")
    site.sql("UPDATE attempt SET diagnosis_state = 'pending', diagnosis_until = NULL WHERE ok IS FALSE")
    left = lambda: int(site.sql("SELECT count(*) FROM attempt WHERE diagnosis_state = 'pending'"))  # noqa: E731
    wait_for("some to be diagnosed", lambda: left() < 100)
    site.kill_postgresql()
    wait_for("all of them", lambda: left() == 0, 120)
    assert site.sql(f"SELECT count(*) FROM attempt WHERE challenge_id = '{UNMOVED}'") == "103"
