"""Words of whole logs: what no diagnosis quotes is found, quoted texts with their lines, within bounds; it goes with the log."""
from __future__ import annotations

import json
import subprocess
from urllib.parse import quote

import pytest
from portolan import BUILD, wait_for

from conftest import PIPELINE

NOISE = "".join(f"epoch {i}/500 loss 0.{i:03d}\n" for i in range(300))


def log_of(said: str) -> str:
    return f"loading the {said}\nresolving plugin zanzibar-{len(said)}\n{NOISE}ValueError: the exporter failed\n"


def ids_of(items):
    return [i["attempt_id"] for i in items]


def settled(past) -> None:
    wait_for("the words of all logs", lambda: past.sql("SELECT count(*) FROM failure_log_due") == "0", 60)


@pytest.fixture(scope="module")
def told(past):
    ids = {"quokka": past.fail("north", log_of("Quokka Dataset from \x1b[1mthe\x1b[0m shelf")), "wombat": past.fail("south", log_of("wombat datasets of the shelf"))}
    settled(past)
    return ids


def test_words_that_nothing_quotes(past, told):
    assert past.failures("q=zanzibar") == [], "the diagnosis quotes no such line: else this tests nothing"
    assert ids_of(past.failures("q=zanzibar&in=log")) == [told["wombat"], told["quokka"]]
    assert ids_of(past.failures("q=quokka+loaded&in=log")) == [told["quokka"]], "in any form"
    assert ids_of(past.failures("q=zanzibar+-wombat&in=log")) == [told["quokka"]]
    assert ids_of(past.failures("q=zanzibar&in=log&project=south")) == [told["wombat"]], "together with facts"
    assert past.failures("q=zanzibar&in=log&until=2020-01-01") == [] and past.failures("q=zanzibar&in=log&challenge=browser") == []
    assert len(past.failures("q=zanzibar&in=log&resolved=any")) == 2
    page = past.ok("GET", "/api/v1/failures?q=zanzibar&in=log&limit=1")
    assert ids_of(page["items"]) == [told["wombat"]]
    rest = past.ok("GET", f"/api/v1/failures?q=zanzibar&in=log&limit=1&cursor={quote(page['next'])}")
    assert ids_of(rest["items"]) == [told["quokka"]] and rest["next"] is None


def test_quoted_texts_stand_there_and_say_where(past, told):
    got = past.failures("q=" + quote('"dataset from the shelf"') + "&in=log")
    assert ids_of(got) == [told["quokka"]] and got[0]["log_hits"] == [{"line": 1, "text": "loading the Quokka Dataset from the shelf"}], "colours of the terminal are not in the way"
    assert past.failures("q=" + quote('"shelf from the dataset"') + "&in=log") == [], "the words are there, the text is not"
    two = past.failures("q=" + quote('"exporter failed" "plugin zanzibar-28"') + "&in=log")
    assert ids_of(two) == [told["wombat"]] and [h["line"] for h in two[0]["log_hits"]] == [2, 303]
    many = past.failures("q=" + quote('"loss 0."') + "&in=log&project=north")
    assert [h["line"] for h in many[0]["log_hits"]] == [3, 4, 5], "a bounded number"


def test_what_makes_no_sense_is_said(past, told):
    for query in ("in=log&q=-zanzibar", "in=logs&q=zanzibar", "in=log&q=zanzibar&sort=cost", "in=log&q=zanzibar&sort=similarity"):
        assert past.call("GET", f"/api/v1/failures?{query}").status == 422, query
    assert len(past.failures("in=log")) == len(past.failures("")), "without words there is nothing to look for inside"


def test_facets_and_csv_agree(past, told):
    got = past.facets("q=zanzibar&in=log")
    assert (got["total"], got["capped"]) == (2, False) and got["project"] == {"north": 1, "south": 1}
    assert "seen in the list" in past.facets("q=" + quote('"shelf from the dataset"') + "&in=log")["note"]
    rows = past.call("GET", "/api/v1/failures.csv?q=zanzibar&in=log").body.decode().splitlines()
    assert len(rows) == 3
    rows = past.call("GET", "/api/v1/failures.csv?q=" + quote('"dataset from the shelf"') + "&in=log").body.decode().splitlines()
    assert len(rows) == 2 and rows[1].startswith(str(told["quokka"]))


def test_a_confined_token_finds_nothing_of_others(past, told):
    north = past.viewer("log north", "north")
    assert ids_of(past.failures("q=zanzibar&in=log", north)) == [told["quokka"]]
    assert past.call("GET", "/api/v1/failures?q=zanzibar&in=log&project=south", token=north).status == 404
    assert past.facets("q=zanzibar&in=log", north)["total"] == 1


def test_a_correction_moves_it(past, told):
    now = past.sql("SELECT id FROM challenge WHERE id LIKE 'browser/%/%' ORDER BY id LIMIT 1")
    assert past.failures("q=zanzibar&in=log&challenge=browser") == []
    past.sql(f"UPDATE attempt SET challenge_id = '{now}', challenge_by = 'person' WHERE id = {told['quokka']}")
    assert ids_of(past.failures(f"q=zanzibar&in=log&challenge={now}")) == [told["quokka"]] and ids_of(past.failures("q=zanzibar&in=log&challenge=browser")) == [told["quokka"]]


def test_the_command_line(past, told):
    env = {"PORTOLAN_SERVER": past.url, "PORTOLAN_TOKEN": past.token, "PATH": "/usr/bin:/bin", "HOME": str(past.dir)}
    done = subprocess.run([str(BUILD / "cli" / "portolan"), "failures", "search", '"dataset from the shelf"', "--in", "log"], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0 and f"attempt {told['quokka']} line 1: loading the Quokka Dataset from the shelf" in done.stdout, done.stderr
    done = subprocess.run([str(BUILD / "cli" / "portolan"), "failures", "search", "zanzibar", "--in", "log", "--json"], capture_output=True, text=True, timeout=60, env=env)
    assert ids_of(json.loads(done.stdout)["items"]) == [told["wombat"], told["quokka"]]


def test_logs_from_before_and_logs_that_go(own_past):
    """What was there before is filled in, going on where a daemon was ended; what retention takes is found no more inside, and in every other way as before."""
    past = own_past
    daemon = past.start_daemon()
    past.play()
    past.project("attic", PIPELINE)
    attempts = [past.fail("attic", log_of(f"numbat number {i}")) for i in range(3)]
    settled(past)
    daemon.terminate()
    daemon.wait(30)
    past.start_daemon("alone")   # the database of a stopped daemon stops with it
    wait_for("the daemon to be idle", lambda: past.sql("SELECT count(*) FROM failure_log_due") == "0", 30)
    # as a database is right after the migration, with one log that a daemon died over
    past.sql("DELETE FROM failure_log")
    past.sql(f"INSERT INTO failure_log_due (attempt_id, until, tries) SELECT attempt_id, CASE WHEN attempt_id = {attempts[0]} THEN now() - interval '1 second' END, 1 FROM failure")
    settled(past)
    assert ids_of(past.failures("q=numbat&in=log")) == attempts[::-1]
    past.daemons[-1].terminate()
    past.daemons[-1].wait(30)
    past.start_daemon("by-age")
    past.sql(f"UPDATE attempt SET ended_at = ended_at - interval '40 days' WHERE id = {attempts[1]}")
    past.daemons[-1].terminate()
    past.daemons[-1].wait(30)
    past.start_daemon("prune", **{"log-retention": "30d"})
    wait_for("the old log to go", lambda: past.call("GET", f"/api/v1/attempts/{attempts[1]}/log").status == 410, 60)
    assert ids_of(past.failures("q=numbat&in=log")) == [attempts[2], attempts[0]]
    assert past.sql(f"SELECT count(*) FROM failure_log WHERE attempt_id = {attempts[1]}") == "0"
    assert attempts[1] in ids_of(past.failures("q=exporter"))


def test_more_logs_than_one_page_looks_into(past):
    """105 logs with the words and without the text, behind them one with it: the first page says so and goes on."""
    past.project("herd", PIPELINE)
    last = past.fail("herd", "the exact bandicoot phrase\nValueError: x\n")
    other = past.fail("herd", "the bandicoot phrase is not exact\nValueError: x\n")
    settled(past)
    # the same log 105 times, without running 105 stages
    past.sql(f"""DO $$ DECLARE i int; n bigint; BEGIN FOR i IN 1..105 LOOP
        INSERT INTO attempt (stage_id, fence, agent_name, started_at, ended_at, ok, end_reason, log_bytes, log_complete, diagnosis_state, diagnosis) SELECT stage_id, 1000 + i, agent_name, started_at, ended_at + i * interval '1 ms', ok, end_reason, log_bytes, true, 'done', diagnosis FROM attempt WHERE id = {other} RETURNING id INTO n;
        INSERT INTO log_chunk (attempt_id, start_offset, data) SELECT n, start_offset, data FROM log_chunk WHERE attempt_id = {other};
        PERFORM failure_refresh(n); END LOOP; END $$""")
    settled(past)
    first = past.ok("GET", "/api/v1/failures?q=" + quote('"exact bandicoot phrase"') + "&in=log")
    assert first["items"] == [] and first["next"] and "looked into" in first["cut"]
    second = past.ok("GET", "/api/v1/failures?q=" + quote('"exact bandicoot phrase"') + f"&in=log&cursor={quote(first['next'])}")
    assert ids_of(second["items"]) == [last] and second["next"] is None and "cut" not in second
