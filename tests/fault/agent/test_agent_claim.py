"""Enrolment and claims: a daemon that is away, refuses, or says nonsense."""
import json
import subprocess

from agent_daemon import ENROL, TOKEN, Drop, wait_for
from agent_process import AGENT, PUBLISH, hold, state_json


def test_enrolment_trades_the_token_once(daemon, agent):
    agent.wait_log("enrolled as agent 7")
    assert state_json(agent)["token"] == TOKEN
    inventory = daemon.inventories[0]
    assert inventory["hosts"] == ["server"] and inventory["slots"] == 2 and inventory["recipes"] == ["fake/run", "serve/oip", "serve/tf"]
    assert inventory["sandbox"].startswith("bwrap") and inventory["memory_bytes"] > 1 << 20
    agent.wait_log("works for")
    agent.kill()
    agent.start()  # with the one-time token still in its settings
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    assert daemon.result(1)["ok"]
    assert daemon.enrolled == 1
    assert TOKEN not in agent.log() and ENROL not in agent.log()


def test_enrolment_waits_for_the_daemon(daemon, make_agent):
    daemon.stop()
    agent = make_agent()
    agent.wait_log("trying again")
    daemon.start()
    agent.wait_log("enrolled as agent 7")


def test_a_refused_token_is_an_error_with_a_reason(daemon, make_agent):
    agent = make_agent(enroll_token="wrong")
    assert agent.process.wait(60) == 1
    assert "this token is spent or unknown" in agent.log()


def test_not_enrolled_says_what_to_do(daemon, make_agent):
    agent = make_agent(enroll_token="")
    assert agent.process.wait(60) == 1
    assert "portolan-agent enroll TOKEN" in agent.log()


def test_enroll_command(daemon, make_agent):
    agent = make_agent(enroll_token="")
    agent.process.wait(60)
    run = subprocess.run([AGENT, "enroll", ENROL, *agent.arguments()], env=agent.environment(), capture_output=True, text=True,
                         check=False)
    assert run.returncode == 0, run.stderr
    assert state_json(agent)["token"] == TOKEN and TOKEN not in run.stderr + run.stdout


def test_a_token_that_others_may_read_is_refused(daemon, agent):
    agent.wait_log("works for")
    agent.kill()
    (agent.state / "agent.json").chmod(0o640)
    agent.start()
    assert agent.process.wait(60) == 1
    assert "others may read" in agent.log()


def test_two_agents_do_not_share_a_state_directory(daemon, agent):
    agent.wait_log("works for")
    run = subprocess.run([AGENT, "run", *agent.arguments()], env=agent.environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "another agent works" in run.stderr


def test_claims_survive_errors(daemon, agent):
    seen = []

    def trouble(d, handler, request):
        seen.append(1)
        if len(seen) == 1:
            handler.problem(500, "sorry")
        elif len(seen) == 2:
            raise Drop
        elif len(seen) == 3:
            handler.answer(200, raw=b"<html>")
        else:
            return False
        return True

    daemon.faults["claim"] = trouble
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    assert daemon.result(1)["ok"]
    assert "the daemon answers again" in agent.log()


def test_a_revoked_token_is_told_once(daemon, agent):
    agent.wait_log("works for")
    daemon.faults["claim"] = lambda d, handler, request: handler.problem(401, "revoked") or True
    agent.wait_log("refuses this agent's token")
    wait_for(lambda: daemon.count("POST", "/claim") > 3, "more questions")
    assert agent.log().count("refuses this agent's token") == 1


def test_bad_claims_do_not_stop_good_ones(daemon, agent):
    good = daemon.job(3, {}, run=[PUBLISH])
    with daemon.lock:
        daemon.fences[3] = 1
        daemon.logs[3] = bytearray()
        daemon.queue += [{"attempt_id": "x"}, {}, good]
    assert daemon.result(3)["ok"]


def test_an_unusable_job_ends_as_agent_lost_with_the_reason(daemon, agent):
    daemon.offer(daemon.job(1, {}, kind="dance", run=[PUBLISH]))
    result = daemon.result(1)
    assert result["end_reason"] == "agent_lost" and "job.kind" in result["message"], result
    assert "job.kind" in bytes(daemon.logs[1]).decode()


def test_slots_are_kept(daemon, agent):
    for attempt in (1, 2, 3):
        daemon.offer(daemon.job(attempt, {}, run=["touch begun", hold("go"), PUBLISH]))
    agent.wait_file(1, "src/begun")
    agent.wait_file(2, "src/begun")
    with daemon.lock:
        assert [j["attempt_id"] for j in daemon.queue] == [3]
    agent.let_go(1)
    agent.wait_file(3, "src/begun")
    agent.let_go(2)
    agent.let_go(3)
    for attempt in (1, 2, 3):
        assert daemon.result(attempt)["ok"]


def test_settings_errors_name_the_setting(daemon, agent):
    cases = [(["--slots", "0"], "slots"), (["--slts", "1"], "slots"), (["--sandbox", "maybe"], "require or none"), (["stray"], "stray")]
    for arguments, word in cases:
        run = subprocess.run([AGENT, "run", *arguments], env=agent.environment(), capture_output=True, text=True, check=False)
        assert run.returncode == 2 and word in run.stderr, (arguments, run.stderr)


def test_plain_http_to_another_host_is_refused(daemon, agent):
    agent.wait_log("works for")
    agent.kill()
    run = subprocess.run([AGENT, "run", "--server", "http://192.0.2.1:80", "--state-dir", str(agent.state)],
                         env=agent.environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "plain http" in run.stderr


def test_inventory_command(agent):
    run = subprocess.run([AGENT, "inventory", "--labels", "gpu, big"], env=agent.environment(), capture_output=True, text=True,
                         check=False)
    inventory = json.loads(run.stdout)
    assert inventory["labels"] == ["gpu", "big"] and inventory["hosts"] == ["server"]
