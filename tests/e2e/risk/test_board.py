"""The board, assignments, people: what is shown first, who may do what, what history tells, two hands at once."""
from __future__ import annotations

import threading

import pytest

from pipelines import BROKEN, FILES, TWO
from portolan import wait_for


@pytest.fixture(scope="module")
def red(site):
    """A red stage that is diagnosed."""
    site.project("reddish", TWO, {**FILES, "check.sh": BROKEN})
    wait_for("the knowledge base", lambda: int(site.sql("SELECT count(*) FROM challenge")) > 90, 60)
    run = site.run("reddish")
    site.until(run, "red")
    return wait_for("a diagnosis", lambda: (lambda s: {**s, "run_id": run} if s["diagnosis_state"] in ("done", "failed") else None)(site.stage(run, "verify/web")), 30)


def board(site, query: str = "", **more):
    return site.ok("GET", "/api/v1/board" + query, **more)["items"]


def test_a_red_stage_is_on_the_board_with_its_reasons(site, red):
    item = next(i for i in board(site, "?state=red") if i["stage_id"] == red["id"])
    assert item["risk"]["p"] == 1 and item["risk"]["terms"][0]["name"] == "failed" and item["risk"]["hours"] > 0
    assert item["project"] == "reddish" and item["stage"] == "verify/web" and item["assignment"] is None
    assert item["likely"] and item["host"] == "server" and 0 < item["likely"][0]["p"] <= 1
    assert [i for i in board(site, "?project=nowhere")] == []
    assert all(i["host"] == "server" for i in board(site, "?host=server"))
    assert board(site, "?state=upcoming&project=reddish") == []
    assert site.call("GET", "/api/v1/board?sort=beauty").status == 422
    assert site.call("GET", "/api/v1/board?min_risk=2").status == 422


def test_people_come_from_commits(site, red):
    people = {p["name"]: p for p in site.ok("GET", "/api/v1/people")["items"]}
    assert people["ada"]["emails"] == ["ada@example.org"] and "reddish" in people["ada"]["projects"]
    assert people["ada"]["display_name"] == "Ada" and people["ada"]["created_by"] == "commits"


def test_mailmap_puts_two_addresses_into_one_person(site):
    work = site.repo("mapped", TWO, {**FILES, ".mailmap": "Hedy Lamarr <hedy@example.org> <hl@old.example>\n"})
    import os
    import subprocess
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "hl", "GIT_AUTHOR_EMAIL": "hl@old.example", "GIT_COMMITTER_NAME": "hl", "GIT_COMMITTER_EMAIL": "hl@old.example"}
    subprocess.run(["git", "-C", str(work), "commit", "-q", "--allow-empty", "-m", "old address"], check=True, env=env)
    site.git(work, "push", "-q", "origin", "main")
    site.ok("POST", "/api/v1/projects", {"name": "mapped", "url": str(site.dir / "repos" / "mapped.git")})
    site.until(site.run("mapped"), "green")
    people = {p["name"]: p for p in site.ok("GET", "/api/v1/people?project=mapped")["items"]}
    assert people["hedy-lamarr"]["emails"] == ["hedy@example.org"] and "hl" not in people


def test_give_take_hand_back_done_and_what_history_says(site, red, tokens):
    site.ok("PATCH", "/api/v1/people/ada", {"add_tokens": ["ada"]})
    given = site.ok("POST", "/api/v1/assignments", {"stage_id": red["id"], "person": "ada", "due_at": "2031-01-02T03:04:05Z", "comment": "please look"}, token=tokens["mona"])
    assert (given["person"], given["state"], given["attempt_id"]) == ("ada", "assigned", red["attempt_id"])
    assert given["history"][0]["action"] == "assigned" and given["history"][0]["text"] == "please look" and given["history"][0]["actor"] == "mona"
    assert {c["role"] for c in given["checklist"]} & {"dl_developer", "platform_developer", "remedy"}
    item = next(i for i in board(site) if i["stage_id"] == red["id"])
    assert item["assignment"]["person"] == "ada" and item["assignment"]["due_at"].startswith("2031-01-02T03:04:05")
    # a member may not give, nor take what another has
    assert site.call("POST", "/api/v1/assignments", {"stage_id": red["id"], "person": "ada"}, token=tokens["grace"]).status == 403
    no = site.call("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "take"}, token=tokens["grace"])
    assert no.status == 409 and "ada has it" in no.json["detail"] and "SQLSTATE" not in no.json["detail"]
    assert site.call("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "done"}, token=tokens["grace"]).status == 403
    assert site.call("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "take"}, token=tokens["vic"]).status == 403
    assert site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "take"}, token=tokens["ada"])["state"] == "taken"
    ticked = site.ok("PUT", f"/api/v1/assignments/{given['id']}/checklist/0", {"done": True}, token=tokens["ada"])
    assert ticked["checklist"][0]["done"] and ticked["checklist"][0]["done_by"] == "ada"
    assert site.call("PUT", f"/api/v1/assignments/{given['id']}/checklist/999", {"done": True}, token=tokens["ada"]).status == 404
    said = site.ok("POST", f"/api/v1/assignments/{given['id']}/comments", {"text": "it is the runtime"}, token=tokens["grace"])
    assert [c["text"] for c in said["comments"]] == ["it is the runtime"]
    back = site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "hand_back", "comment": "not mine"}, token=tokens["ada"])
    assert back["person"] is None and back["state"] == "free"
    assert next(i for i in board(site, "?person=none") if i["stage_id"] == red["id"])["assignment"]["state"] == "free"
    assert site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "take"}, token=tokens["grace"])["person"] == "grace"
    moved = site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "reassign", "person": "ada"}, token=tokens["mona"])
    assert moved["person"] == "ada" and moved["state"] == "assigned"
    done = site.ok("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "done", "comment": "runtime pinned"}, token=tokens["ada"])
    assert done["state"] == "done" and done["ended_at"]
    assert [h["action"] for h in done["history"]] == ["assigned", "taken", "checked", "comment", "handed_back", "taken", "reassigned", "done"]
    assert site.call("PATCH", f"/api/v1/assignments/{given['id']}", {"action": "take"}, token=tokens["ada"]).status == 409
    assert site.ok("GET", "/api/v1/assignments?person=ada&state=done")["items"][0]["id"] == given["id"]
    audit = [a["action"] for a in site.ok("GET", "/api/v1/audit?limit=200")["items"]]
    assert {"assignment.give", "assignment.change", "assignment.comment", "assignment.check"} <= set(audit)


def test_two_hands_at_once_one_wins(site, red, tokens):
    for _ in range(5):
        answers, start = {}, threading.Barrier(2)

        def take(who: str) -> None:
            start.wait()
            answers[who] = site.call("POST", "/api/v1/assignments", {"stage_id": red["id"]}, token=tokens[who])
        hands = [threading.Thread(target=take, args=(w,)) for w in ("ada", "grace")]
        [h.start() for h in hands]
        [h.join() for h in hands]
        statuses = sorted(a.status for a in answers.values())
        assert statuses == [201, 409], {w: a.body for w, a in answers.items()}
        winner = next(w for w, a in answers.items() if a.status == 201)
        loser = next(a for a in answers.values() if a.status == 409)
        assert winner in loser.json["detail"], "the winner is named"
        site.ok("PATCH", f"/api/v1/assignments/{answers[winner].json['id']}", {"action": "done"}, token=tokens[winner])


def test_it_closes_itself_when_the_stage_turns_green_and_whoever_fixed_it_is_suggested_next_time(site, red, tokens):
    given = site.ok("POST", "/api/v1/assignments", {"attempt_id": red["attempt_id"], "person": "grace"}, token=tokens["mona"])
    work = site.dir / "work" / "reddish"
    (work / "check.sh").write_text(FILES["check.sh"])
    site.commit(work, "fixed")
    site.git(work, "push", "-q", "origin", "main")
    run = site.run("reddish")
    site.until(run, "green")
    closed = site.ok("GET", f"/api/v1/assignments/{given['id']}")
    assert closed["state"] == "closed" and closed["history"][-1]["action"] == "closed" and f"run {run}" in closed["history"][-1]["text"]
    assert not [i for i in board(site, "?state=red") if i["stage_id"] == red["id"]], "what turned green is off the board"
    # the same again: who resolved it is suggested, with reasons and without a score
    (work / "check.sh").write_text(BROKEN)
    site.commit(work, "broken again")
    site.git(work, "push", "-q", "origin", "main")
    run = site.run("reddish")
    site.until(run, "red")
    stage = wait_for("a diagnosis", lambda: (lambda s: s if s["diagnosis_state"] == "done" else None)(site.stage(run, "verify/web")), 30)
    item = next(i for i in board(site, "?state=red") if i["stage_id"] == stage["id"])
    names = [s["person"] for s in item["suggested"]]
    assert "ada" in names and "grace" in names
    for s in item["suggested"]:
        assert set(s) == {"person", "display_name", "reasons"} and any("resolved" in r for r in s["reasons"]) and any("assigned now" in r for r in s["reasons"])
    # what a daemon has folded in and what is asked anew are the same
    kept = "SELECT challenge_id, project_id, person_id, at, times, run_id FROM resolver ORDER BY 1, 2, 3"
    site.sql("INSERT INTO resolver_change (challenge_id) SELECT DISTINCT challenge_id FROM attempt WHERE challenge_id IS NOT NULL")
    asked = board(site, "?state=red")
    wait_for("folded in", lambda: site.sql("SELECT count(*) FROM resolver_change") == "0", 30)
    assert [i["suggested"] for i in board(site, "?state=red")] == [i["suggested"] for i in asked]
    assert site.sql(kept) and site.sql(kept) == site.sql("SELECT challenge_id, project_id, person_id, max(at), count(DISTINCT run_id), (array_agg(run_id ORDER BY at DESC))[1] FROM"
                                                        " people_resolved(ARRAY(SELECT DISTINCT challenge_id FROM attempt WHERE challenge_id IS NOT NULL), NULL) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
    site.ok("PATCH", "/api/v1/people/ada", {"suggestions": False}, token=tokens["ada"])
    item = next(i for i in board(site, "?state=red") if i["stage_id"] == stage["id"])
    assert "ada" not in [s["person"] for s in item["suggested"]], "a no is honoured"
    site.ok("PATCH", "/api/v1/people/ada", {"suggestions": True})


def test_the_board_puts_what_nobody_has_first_and_pages(site, red, tokens):
    site.project("gates", TWO.replace("verify: {run", "verify: {when: manual, run"), FILES)
    for _ in range(3):
        site.until_stage(site.run("gates"), "verify/web", "gated")
    # what ended since, and what pre-flight saw, has gone into their risk: nothing moves them between two pages
    wait_for("all of it weighed", lambda: site.sql("SELECT count(*) FROM stage s JOIN run r ON r.id = s.run_id WHERE s.state = 'gated' AND (s.risk_seen < (SELECT max(id) FROM risk_outcome o WHERE o.project_id = r.project_id)"
                                                   " OR s.risk_looks < (SELECT count(*) FROM preflight f WHERE f.run_id = r.id))") == "0", 30)
    mine = board(site, "?project=gates&state=gated")
    assert len(mine) == 3
    site.ok("POST", "/api/v1/assignments", {"stage_id": mine[0]["stage_id"]}, token=tokens["ada"])
    again = board(site, "?project=gates&state=gated")
    assert [i["assignment"] is None for i in again] == [True, True, False]
    first = site.ok("GET", "/api/v1/board?project=gates&state=gated&limit=2")
    rest = site.ok("GET", f"/api/v1/board?project=gates&state=gated&limit=2&after={first['next']}")
    assert [i["stage_id"] for i in first["items"] + rest["items"]] == [i["stage_id"] for i in again] and rest["next"] is None
    assert [i["stage_id"] for i in board(site, "?person=me", token=tokens["ada"])] == [mine[0]["stage_id"]]


def test_directory_aliases_and_merging(site, tokens):
    made = site.ok("POST", "/api/v1/people", {"name": "lin", "display_name": "Lin", "emails": ["Lin@Example.org"], "tokens": ["lin-laptop"]}, token=tokens["mona"])
    assert made["emails"] == ["lin@example.org"]
    assert site.call("POST", "/api/v1/people", {"name": "lin"}, token=tokens["mona"]).status == 409
    clash = site.call("PATCH", "/api/v1/people/lin", {"add_emails": ["ada@example.org"]}, token=tokens["mona"])
    assert clash.status == 409 and "belongs to ada" in clash.json["detail"]
    assert site.call("PATCH", "/api/v1/people/lin", {"display_name": "X"}, token=tokens["ada"]).status == 403
    assert site.call("PATCH", "/api/v1/people/ada", {"add_emails": ["a@b.c"]}, token=tokens["ada"]).status == 403
    assert site.ok("GET", "/api/v1/people/lin", token=tokens["ada"])["emails"] is None, "addresses are for managers"
    site.ok("POST", "/api/v1/people", {"name": "lin2", "emails": ["lin@home.example"]}, token=tokens["mona"])
    site.ok("PATCH", "/api/v1/people/lin2", {"suggestions": False}, token=tokens["mona"])
    kept = site.ok("PATCH", "/api/v1/people/lin2", {"merge_into": "lin"}, token=tokens["mona"])
    assert kept["emails"] == ["lin@example.org", "lin@home.example"] and kept["aliases"] == ["lin2"] and kept["suggestions"] is False
    assert site.ok("GET", "/api/v1/people/lin2")["name"] == "lin"
    assert site.call("POST", "/api/v1/people", {"name": "bad@x"}, token=tokens["mona"]).status == 422
    assert site.call("POST", "/api/v1/people", {"name": "ok", "emails": ["a b@c"]}, token=tokens["mona"]).status == 422
    assert site.call("POST", "/api/v1/people", {"name": "ok"}, token=tokens["ada"]).status == 403


def cli(site, token: str, *argv: str, expect: int = 0) -> str:
    import os
    import subprocess
    from portolan import BUILD
    done = subprocess.run([str(BUILD / "cli" / "portolan"), *argv], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": token, "HOME": str(site.dir), "XDG_CONFIG_HOME": str(site.dir)})
    assert done.returncode == expect, (argv, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_the_command_line_does_all_of_it(site, tokens):
    site.project("cli", TWO, {**FILES, "check.sh": BROKEN})
    run = site.run("cli")
    site.until(run, "red")
    wait_for("a diagnosis", lambda: site.stage(run, "verify/web")["diagnosis_state"] == "done", 30)
    table = cli(site, tokens["vic"], "risk", str(run))
    assert "verify/web" in table and "%" in table and "AT STAKE" in table
    full = cli(site, tokens["vic"], "risk", "cli#1", "--terms")
    assert "organisation" in full and "worth 4 outcomes" in full
    assert "Brier score" in cli(site, tokens["vic"], "risk", "backtest") and "outcomes" in cli(site, tokens["vic"], "risk", "backtest", "--project", "reddish")
    shown = cli(site, tokens["vic"], "board", "--project", "cli")
    assert "cli#1" in shown and "nobody" in shown and "100 %" in shown
    where = f"{run}/verify/web"
    assert "with ada" in cli(site, tokens["mona"], "assign", where, "ada", "--due", "2d", "-m", "please")
    assert "ada has" in cli(site, tokens["grace"], "take", where, expect=5)
    assert "taken, with ada" in cli(site, tokens["ada"], "take", where)
    told = cli(site, tokens["ada"], "assignment", "show", where)
    assert "please" in told and "[ ]" in told and "due" in told
    cli(site, tokens["ada"], "assignment", "check", where, "1")
    cli(site, tokens["ada"], "assignment", "comment", where, "looking")
    told = cli(site, tokens["ada"], "assignment", "show", where)
    assert "[x]" in told and "looking" in told
    assert "free again" in cli(site, tokens["ada"], "handback", where)
    assert "with ada" in cli(site, tokens["mona"], "assign", where, "ada", "--reassign")
    assert "verify/web" in cli(site, tokens["ada"], "assignment", "list", "--person", "me")
    assert "done" in cli(site, tokens["ada"], "assignment", "done", where)
    assert "ada@example.org" in cli(site, tokens["mona"], "person", "list")
    assert "off" in cli(site, tokens["ada"], "person", "set", "ada", "--suggestions", "off") and "on" in cli(site, tokens["ada"], "person", "set", "ada", "--suggestions", "on")
    assert "there is no person" in cli(site, tokens["mona"], "assign", where, "nobody-here", expect=2)
