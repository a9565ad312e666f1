"""Risk of planned stages: there before the run, explained, moved by outcomes; gates by risk; playing history back."""
from __future__ import annotations

from pipelines import BROKEN, FILES, TWO
from portolan import GIT_ENV, lay_model, wait_for


def push(site, work, message: str, **files: str) -> None:
    for path, text in files.items():
        (work / path.replace("__", ".")).write_text(text)
    site.commit(work, message)
    site.git(work, "push", "-q", "origin", "main")


def risk_of(site, run: int, stage: str) -> dict:
    return site.ok("GET", f"/api/v1/stages/{site.stage(run, stage)['id']}/risk")


def terms(risk: dict) -> dict:
    return {t["name"]: t for t in risk["terms"]}


def test_a_first_run_has_a_risk_with_every_term(site):
    site.project("first", TWO, FILES)
    wait_for("the knowledge base", lambda: int(site.sql("SELECT count(*) FROM challenge")) > 90, 60)
    run = site.run("first")
    site.until(run, "green")
    risk = risk_of(site, run, "verify/web")
    assert 0 < risk["p"] < 0.9 and risk["hours"] > 0 and abs(risk["cost"] - risk["p"] * risk["hours"]) < 0.01
    named = terms(risk)
    assert {"paper", "organisation", "project", "first_time", "diff_unknown", "hours"} <= set(named)
    assert "questions" in named["paper"]["why"] and all(t["why"] for t in risk["terms"])
    assert risk["likely"] and risk["likely"][0]["challenge_id"].startswith("server/")
    assert risk["outcomes"] == [{"at": risk["outcomes"][0]["at"], "ok": True, "predicted": risk["outcomes"][0]["predicted"]}]
    whole = site.ok("GET", f"/api/v1/runs/{run}/risk")["items"]
    assert [r["stage"] for r in whole] == ["export", "verify/web"]


def test_what_changed_moves_it_and_is_named(site):
    work = site.project("moved", TWO, FILES)
    site.until(site.run("moved"), "green")
    push(site, work, "pins", requirements__txt="numpy==1.26.4\n")
    run = site.run("moved")
    site.until(run, "green")
    named = terms(risk_of(site, run, "verify/web"))
    assert named["environment_changed"]["value"] > 1 and "requirements.txt" in named["environment_changed"]["why"]
    assert "exporter_changed" not in named and "diff_unknown" not in named
    run = site.run("moved")
    site.until(run, "green")
    assert terms(risk_of(site, run, "verify/web"))["nothing_changed"]["value"] < 1
    push(site, work, "other check", check__sh=FILES["check.sh"] + "true\n")
    run = site.run("moved")
    site.until(run, "green")
    named = terms(risk_of(site, run, "verify/web"))
    assert "check.sh" in named["exporter_changed"]["why"], "a script that a stage names is a script of the stage"
    push(site, work, "other spec", __portolan__yml=TWO.replace("sh check.sh", "sh -x check.sh"))
    run = site.run("moved")
    site.until(run, "green")
    assert "spec_changed" in terms(risk_of(site, run, "verify/web"))
    assert "spec_changed" not in terms(risk_of(site, run, "export")), "only the stage that is described differently"


def test_failures_raise_it_and_green_lowers_it(site):
    work = site.project("learning", TWO, FILES)
    seen = []
    for check in (FILES["check.sh"], BROKEN, BROKEN, FILES["check.sh"] + "#\n", FILES["check.sh"]):
        push(site, work, "next", check__sh=check + f"# {len(seen)}\n")
        run = site.run("learning")
        site.until(run, "green", "red")
        seen.append(risk_of(site, run, "verify/web")["p"])
    assert seen[2] > seen[1], "a red one before makes the next riskier"
    assert seen[3] > seen[2]
    assert seen[4] < seen[3], "and a green one less"
    last = risk_of(site, run, "verify/web")
    assert "3 outcomes" not in terms(last)["project"]["why"] and "4 outcomes" in terms(last)["project"]["why"]
    assert site.sql("SELECT count(*) FROM risk_outcome o JOIN risk_outcome r ON r.id = o.streak WHERE o.ok AND r.fixed_by = o.id AND NOT r.ok AND o.name = 'verify/web'") == "1"


def test_what_waits_is_weighed_anew_when_something_ended(site):
    work = site.project("waiting", TWO.replace("verify: {run", "verify: {when: manual, run"), FILES)
    held = site.run("waiting")
    site.until_stage(held, "verify/web", "gated")
    before = risk_of(site, held, "verify/web")
    push(site, work, "broken", check__sh=BROKEN)
    run = site.run("waiting")
    site.ok("POST", f"/api/v1/stages/{site.until_stage(run, 'verify/web', 'gated')['id']}/approve")
    site.until(run, "red")
    # an export that ended meanwhile may have moved it already: it is this red one that is waited for
    wait_for("the waiting one to be weighed anew", lambda: terms(risk_of(site, held, "verify/web"))["project"]["why"] != terms(before)["project"]["why"], 60)
    assert risk_of(site, held, "verify/web")["p"] > before["p"]


def test_history_played_back(site):
    answer = site.ok("GET", "/api/v1/risk/backtest")
    assert answer["outcomes"] + answer["skipped"] == int(site.sql("SELECT count(*) FROM risk_outcome"))
    assert sum(b["n"] for b in answer["reliability"]) == answer["outcomes"] and len(answer["reliability"]) == 10
    assert 0 <= answer["brier"] <= 1 and 0 <= answer["brier_base_rate"] <= 1 and answer["cut"] is False
    assert [p["platform"] for p in answer["platforms"]] == ["server", "mobile", "browser"] and sum(p["outcomes"] for p in answer["platforms"]) == answer["outcomes"]
    worth = {t["name"]: t for t in answer["terms"]}
    assert {"paper", "organisation", "project", "all_factors", "last_red", "new_operators", "preflight_error"} <= set(worth)
    assert abs(worth["last_red"]["brier_without"] - answer["brier"] - worth["last_red"]["gain"]) < 2e-5
    one = site.ok("GET", "/api/v1/risk/backtest?project=learning")
    assert one["outcomes"] == 9 and one["red"] == 2
    assert site.ok("GET", "/api/v1/risk/backtest?project=nowhere")["outcomes"] == 0


def test_a_token_of_one_project_sees_no_counts_of_others(site):
    token = site.ok("POST", "/api/v1/tokens", {"name": "boxed", "role": "manager", "project": "first"})["token"]
    run = site.ok("GET", "/api/v1/runs?project=first")["items"][0]["id"]
    stage = site.stage(run, "verify/web")["id"]
    mine = site.ok("GET", f"/api/v1/stages/{stage}/risk", token=token)
    assert "red" not in terms(mine)["organisation"]["why"] and "not shown" in terms(mine)["organisation"]["why"]
    other = site.stage(site.ok("GET", "/api/v1/runs?project=learning")["items"][0]["id"], "verify/web")["id"]
    assert site.call("GET", f"/api/v1/stages/{other}/risk", token=token).status == 404
    assert site.ok("GET", "/api/v1/risk/backtest?project=learning", token=token)["project"] == "first"
    assert {i["project"] for i in site.ok("GET", "/api/v1/board", token=token)["items"]} <= {"first"}
    assert {p for i in site.ok("GET", "/api/v1/people", token=token)["items"] for p in i["projects"]} <= {"first"}
    assert site.call("POST", "/api/v1/assignments", {"stage_id": other}, token=token).status == 404
    # people are of all projects: a manager of one neither adds them nor says who they are elsewhere, nor reaches those of others
    assert site.call("POST", "/api/v1/people", {"name": "mallory"}, token=token).status == 403
    assert site.call("PATCH", "/api/v1/people/ada", {"add_tokens": ["first admin"]}, token=token).status == 403
    site.ok("POST", "/api/v1/people", {"name": "elsewhere"})
    assert site.call("GET", "/api/v1/people/elsewhere", token=token).status == 404
    assert site.call("POST", "/api/v1/notify/channels", {"name": "x", "kind": "email", "address": "x@y.z", "person": "elsewhere"}, token=token).status == 422
    # a channel of one's own that hears of other projects too is out of reach of a token of one project
    site.ok("POST", "/api/v1/people", {"name": "boxed2", "tokens": ["boxed"]})
    site.ok("POST", "/api/v1/notify/channels", {"name": "wide", "kind": "email", "address": "x@y.z", "person": "boxed2"})
    assert site.call("PATCH", "/api/v1/notify/channels/wide", {"address": "mallory@evil.example"}, token=token).status == 404
    assert site.ok("GET", "/api/v1/notify/channels", token=token)["items"] == []


def test_a_risky_stage_waits_for_those_the_file_names(site, tokens):
    gated = TWO.replace("verify: {run", "verify: {when: risk > 0.02, approvers: [grace], run").replace("export:\n", "export:\n  when: risk > 0.97\n")
    site.project("policy", gated, FILES)
    run = site.run("policy")
    stage = site.until_stage(run, "verify/web", "gated")
    assert "above the 0.02" in stage["gate_why"] and stage["approvers"] == ["grace"]
    assert site.stage(run, "export")["state"] == "green", "a risk below its limit does not hold"
    why = site.ok("GET", f"/api/v1/runs/{run}/why")["items"][0]["why"]
    assert "grace" in why and "above the 0.02" in why and "stage approve" in why
    no = site.call("POST", f"/api/v1/stages/{stage['id']}/approve", token=tokens["ada"])
    assert no.status == 403 and "grace" in no.json["detail"] and "SQLSTATE" not in no.json["detail"]
    assert site.call("POST", f"/api/v1/stages/{stage['id']}/decline", token=tokens["mona"]).status == 403, "not even a manager"
    site.ok("POST", "/api/v1/people", {"name": "grace", "tokens": ["grace"]}, token=tokens["mona"])
    site.ok("POST", f"/api/v1/stages/{stage['id']}/approve", token=tokens["grace"])
    site.until(run, "green")
    assert site.stage(run, "verify/web")["approved_by"] == "grace"


# ---- what pre-flight and a model's operators say

# No agent has the label: converts wait, and are weighed as planned.
TARGETS = """
version: 1
model: toy
export:
  run: ["mkdir -p $PORTOLAN_OUTPUTS/model", "cp -r made/. $PORTOLAN_OUTPUTS/model/"]
  outputs: [model/saved_model.pb]
targets:
  phone:
    host: mobile
    convert: {uses: tensorflow/tflite, with: {signature: score}, labels: [nobody-has-this], GATE}
    verify: {uses: litert/run}
  web:
    host: browser
    convert: {uses: tensorflow/tfjs, with: {signature: score}, labels: [nobody-has-this], GATE}
    verify: {uses: tfjs/run}
"""


def put_model(work, operator: str) -> None:
    """A graph whose Dilation2D is called otherwise: as long, so that the file stays whole."""
    assert len(operator) == len("Dilation2D")
    file = lay_model(work, "saved-model-named") / "saved_model.pb"
    graph = file.read_bytes()
    assert b"Dilation2D" in graph
    file.write_bytes(graph.replace(b"Dilation2D", operator.encode()))


def looked_at(site, run: int, stages: list[str]) -> dict:
    """The risk of these stages once both looks of the run went into it."""
    def ask():
        if site.sql(f"SELECT count(*) FROM preflight WHERE run_id = {run} AND state = 'done'") != "2":
            return None
        done = site.sql(f"SELECT bool_and(risk_looks = 2) FROM stage WHERE run_id = {run} AND kind <> 'export'")
        return {s: risk_of(site, run, s) for s in stages} if done == "t" else None
    return wait_for(f"what pre-flight says of run {run}", ask, 60)


def test_an_operator_that_a_target_lacks_raises_the_stages_of_that_target_before_they_run(site):
    stages = ["convert/phone", "verify/phone", "convert/web", "verify/web"]
    work = site.project("operators", TARGETS.replace(", GATE", ""), {"README": "x"})
    put_model(work, "LogSoftmax")
    site.commit(work, "a model")
    site.git(work, "push", "-q", "origin", "main")
    clean = site.run("operators")
    site.until_stage(clean, "export", "green")
    before = looked_at(site, clean, stages)
    assert all(not {"preflight_error", "new_operators"} & set(terms(r)) for r in before.values())
    site.ok("POST", f"/api/v1/runs/{clean}/cancel")
    put_model(work, "Dilation2D")
    site.commit(work, "with dilation")
    site.git(work, "push", "-q", "origin", "main")
    run = site.run("operators")
    site.until_stage(run, "export", "green")
    after = looked_at(site, run, stages)
    assert {site.stage(run, s)["state"] for s in stages} <= {"queued", "waiting"}, "nothing of it has run"
    assert all("new_operators" in terms(after[s]) for s in ("convert/phone", "verify/phone"))
    assert "Dilation2D (the target lacks it)" in terms(after["convert/phone"])["new_operators"]["why"]
    error = terms(after["convert/phone"])["preflight_error"]
    assert error["value"] > 10 and "op-unsupported" in error["why"] and "Dilation2D" in error["why"]
    assert after["convert/phone"]["likely"][0]["challenge_id"] == "mobile/model-conversion/conversion-of-unsupported-models"
    assert after["convert/phone"]["p"] > before["convert/phone"]["p"] + 0.3
    assert after["verify/phone"]["p"] > before["verify/phone"]["p"]
    for s in ("convert/web", "verify/web"):
        assert not {"preflight_error", "new_operators"} & set(terms(after[s]))
        assert after[s]["p"] < before[s]["p"] * 1.5, "what else the diff says, of all targets alike"
    assert all(o["stage"].endswith("/phone") for o in site.ok("GET", "/api/v1/board?project=operators&min_risk=0.5")["items"])
    # a token of this project reads what is its own, without the counts over all
    token = site.ok("POST", "/api/v1/tokens", {"name": "operators only", "role": "viewer", "project": "operators"})["token"]
    seen = terms(site.ok("GET", f"/api/v1/stages/{site.stage(run, 'convert/phone')['id']}/risk", token=token))
    assert "Dilation2D" in seen["preflight_error"]["why"] and "outcomes here" not in seen["preflight_error"]["why"]
    site.ok("POST", f"/api/v1/runs/{run}/cancel")


def test_a_gate_by_risk_waits_for_preflight_and_sees_what_it_found(site):
    work = site.project("gates", TARGETS.replace("GATE", "when: risk > 0.6"), {"README": "x"})
    put_model(work, "Dilation2D")
    site.commit(work, "with dilation")
    site.git(work, "push", "-q", "origin", "main")
    run = site.run("gates")
    phone = site.until_stage(run, "convert/phone", "gated")
    assert "above the 0.6" in phone["gate_why"]
    assert risk_of(site, run, "convert/phone")["p"] > 0.6
    assert site.until_stage(run, "convert/web", "queued")["gate_why"] is None
    site.ok("POST", f"/api/v1/runs/{run}/cancel")


def test_a_look_that_never_ends_holds_the_gate_and_no_other_stage(site):
    pipeline = TARGETS.replace("GATE", "when: risk > 0.6", 1).replace(", GATE", "")
    work = site.project("held", pipeline, {"README": "x"})
    put_model(work, "LogSoftmax")
    site.commit(work, "a model")
    site.sql("CREATE FUNCTION keep_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.until := now() + interval '1 hour'; RETURN NEW; END $$;"
             "CREATE TRIGGER keep_look BEFORE INSERT ON preflight FOR EACH ROW WHEN (NEW.stage_id IS NOT NULL) EXECUTE FUNCTION keep_look()")
    try:
        site.git(work, "push", "-q", "origin", "main")
        run = site.run("held")
        site.until_stage(run, "convert/web", "queued")
        phone = site.stage(run, "convert/phone")
        assert phone["state"] == "waiting"
        why = next(i["why"] for i in site.ok("GET", f"/api/v1/runs/{run}/why")["items"] if i["name"] == "convert/phone")
        assert "pre-flight looks at its model first" in why
    finally:
        site.sql("DROP TRIGGER keep_look ON preflight; DROP FUNCTION keep_look()")
    site.sql(f"UPDATE preflight SET until = now() WHERE run_id = {run} AND state = 'pending'")
    site.until_stage(run, "convert/phone", "queued")
    site.ok("POST", f"/api/v1/runs/{run}/cancel")


def test_a_risk_that_is_not_weighed_in_time_asks_a_person(site):
    import os
    import subprocess
    from portolan import BUILD
    work = site.project("unweighed", TARGETS.replace("GATE", "when: risk > 0.6", 1).replace(", GATE", ""), {"README": "x"})
    put_model(work, "LogSoftmax")
    site.commit(work, "a model")
    site.ok("POST", "/api/v1/notify/channels", {"name": "gates", "kind": "email", "address": "gates@example.org"})
    site.sql("CREATE FUNCTION keep_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.until := now() + interval '1 hour'; RETURN NEW; END $$;"
             "CREATE TRIGGER keep_look BEFORE INSERT ON preflight FOR EACH ROW WHEN (NEW.stage_id IS NOT NULL) EXECUTE FUNCTION keep_look()")
    try:
        site.git(work, "push", "-q", "origin", "main")
        run = site.run("unweighed")
        site.until_stage(run, "convert/web", "queued")
    finally:
        site.sql("DROP TRIGGER keep_look ON preflight; DROP FUNCTION keep_look()")
    phone = site.stage(run, "convert/phone")["id"]
    wait_for("the wait to be counted", lambda: site.sql(f"SELECT risk_open_since IS NOT NULL FROM stage WHERE id = {phone}") == "t")
    assert site.stage(run, "convert/phone")["state"] == "waiting", "gate-wait is not over"
    site.sql(f"UPDATE stage SET risk_open_since = now() - interval '16 minutes' WHERE id = {phone}")
    gated = site.until_stage(run, "convert/phone", "gated")
    assert "could not be weighed within 15m" in gated["gate_why"] and "pre-flight of its model is not over" in gated["gate_why"] and "up to 0.6" in gated["gate_why"]
    on_board = [i for i in site.ok("GET", "/api/v1/board?project=unweighed&state=gated")["items"] if i["stage_id"] == phone]
    assert on_board[0]["gate_why"] == gated["gate_why"]
    why = subprocess.run([str(BUILD / "cli" / "portolan"), "why", str(run)], capture_output=True, text=True, timeout=60,
                         env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": site.token, "HOME": str(site.dir), "XDG_CONFIG_HOME": str(site.dir)}).stdout
    assert "could not be weighed within 15m" in " ".join(why.split()) and f"stage approve {phone}" in " ".join(why.split())
    told = wait_for("the notification", lambda: site.sql("SELECT o.data ->> 'gate_why' FROM notify_outbox o JOIN notify_channel c ON c.id = o.channel_id WHERE c.name = 'gates' AND o.event = 'gate'"))
    assert "could not be weighed within 15m" in told
    # the look ends after all, with nothing bad in it: whoever was asked is asked
    site.sql(f"UPDATE preflight SET until = now() WHERE run_id = {run} AND state = 'pending'")
    wait_for("both looks", lambda: site.sql(f"SELECT bool_and(risk_looks = 2) FROM stage WHERE id = {phone}") == "t", 60)
    assert site.stage(run, "convert/phone")["state"] == "gated"
    # run again, its gate is decided by what is known by then
    site.ok("POST", f"/api/v1/stages/{phone}/decline")
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    site.until(run, "cancelled", "red")
    site.ok("POST", f"/api/v1/runs/{run}/rerun")
    assert site.until_stage(run, "convert/phone", "queued")["gate_why"] is None
    site.ok("POST", f"/api/v1/runs/{run}/cancel")
    site.ok("DELETE", "/api/v1/notify/channels/gates")


def test_an_operator_that_came_through_is_new_no_more(site):
    """What a look says of a stage that is green, or turns green later, is what ran there."""
    run = site.ok("GET", "/api/v1/runs?project=first")["items"][0]["id"]
    stage = site.stage(run, "verify/web")["id"]
    take = '[{"stage": "verify/web", "target": "web", "path": "model", "ops": ["Conv2D", "Odd2D"], "unsupported": []}]'
    site.sql(f"INSERT INTO preflight (run_id, stage_id) SELECT {run}, id FROM stage WHERE run_id = {run} AND kind = 'export'")
    site.sql(f"UPDATE preflight SET state = 'done', takes = '{take}' WHERE run_id = {run} AND attempt_id IS NULL AND stage_id IS NOT NULL")
    assert site.sql("SELECT string_agg(operator || ' ' || times, ',' ORDER BY operator) FROM operator_seen o JOIN project p ON p.id = o.project_id WHERE p.name = 'first' AND target = 'web'") == "Conv2D 1,Odd2D 1"
    assert stage
    # rare: five other projects ran models here, none of them with it
    site.sql("INSERT INTO operator_seen (project_id, target, operator, platform) SELECT id, 'web', 'Conv2D', 'server' FROM project WHERE name IN ('moved', 'learning', 'waiting', 'policy', 'operators', 'gates')")
    other = site.ok("GET", "/api/v1/runs?project=held")["items"][0]["id"]
    site.sql(f"UPDATE stage SET platform = 'server' WHERE run_id = {other} AND name = 'convert/web'")
    take = take.replace("verify/web", "convert/web").replace("Odd2D", "Odder2D")
    site.sql(f"UPDATE preflight SET takes = '{take}' WHERE run_id = {other} AND stage_id IS NOT NULL")
    said = site.sql(f"SELECT o -> 'operators' ->> 'bad' FROM jsonb_array_elements(preflight_risk({other}, (SELECT project_id FROM run WHERE id = {other}))) o WHERE o ->> 'name' = 'convert/web'")
    assert said == '[{"why": "rare", "operator": "Odder2D"}]', "Conv2D is common, and no other has Odder2D"


def test_the_command_line_plays_made_up_history_back(site):
    """Two thousand outcomes of two platforms: what was red stays red, and pre-flight's errors come true nine times of ten on one of them."""
    import os
    import subprocess
    from portolan import BUILD
    site.sql("""
        WITH made AS (
            SELECT i, (ARRAY['mobile', 'browser'])[1 + i % 2] AS platform, random() < 0.3 AS was_red, random() < 0.1 AS told FROM (SELECT setseed(0.7)) s, generate_series(1, 2000) i
        ), rolled AS (
            SELECT *, random() < CASE WHEN told AND platform = 'mobile' THEN 0.9 WHEN was_red THEN 0.5 ELSE 0.08 END AS red FROM made
        )
        INSERT INTO risk_outcome (project_id, run_id, stage_id, ref, name, kind, target, platform, ok, bits)
        SELECT (SELECT id FROM project WHERE name = 'first'), 0, 0, 'r', 'convert/x', 'convert', platform, platform, NOT red,
               (CASE WHEN was_red THEN 128 ELSE 0 END) + (CASE WHEN told THEN 256 ELSE 0 END) + ((128 + 256) << 16) FROM rolled ORDER BY i""")
    done = subprocess.run([str(BUILD / "cli" / "portolan"), "risk", "backtest", "--project", "first"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PORTOLAN_SERVER": site.url, "PORTOLAN_TOKEN": site.token, "HOME": str(site.dir), "XDG_CONFIG_HOME": str(site.dir)})
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert "earns its place" in lines["last_red"] and "earns its place" in lines["preflight_error"]
    assert "cannot be told yet" in lines["spec_changed"] and " 0 " in lines["spec_changed"]
    assert "better" in lines["mobile"] and lines["browser"].split()[1] == "1000"
    assert "% better" in lines["Brier"]
