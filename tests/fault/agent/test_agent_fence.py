"""Leases: what the daemon has given to somebody else is stopped and dropped, and changes nothing."""
import pytest
from agent_daemon import Drop, wait_for
from agent_process import PUBLISH, alive, hold


def test_stale_fence_at_the_start(daemon, agent):
    job = daemon.job(1, {}, run=[PUBLISH])
    daemon.offer(job)
    with daemon.lock:
        daemon.fences[1] = 2
    agent.wait_log("no longer this agent's")
    agent.gone(1)
    assert not daemon.results.get(1)


@pytest.mark.parametrize("how", ["heartbeat", "log"])
def test_stale_fence_while_it_runs(daemon, agent, how):
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), PUBLISH], grace_ms=1000))
    agent.wait_file(1, "src/begun")
    pid = agent.pid_of(1)
    if how == "log":  # the heartbeat does not get through
        daemon.faults["heartbeat"] = lambda d, handler, request: handler.problem(503, "later") or True
    with daemon.lock:
        daemon.fences[1] = 2
    if how == "log":
        daemon.faults["log"] = lambda d, handler, request: handler.problem(409, "stale fence") or True
        (agent.attempt_dir(1) / "log").open("ab").write(b"one more line\n")
    agent.wait_log("no longer this agent's")
    agent.gone(1)
    assert not alive(pid)
    assert not daemon.results.get(1)


def test_stale_fence_at_the_end(daemon, agent):
    daemon.faults["heartbeat"] = lambda d, handler, request: handler.problem(503, "later") or True
    daemon.faults["finish"] = lambda d, handler, request: handler.problem(409, "stale fence") or True
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    agent.wait_log("result refused")
    agent.gone(1)
    daemon.faults.clear()
    daemon.offer(daemon.job(2, {}, run=[PUBLISH]))  # and the agent goes on
    assert daemon.result(2)["ok"]


def test_the_same_attempt_again_with_a_new_fence(daemon, agent):
    """The daemon took the lease away and gave the stage to this very agent again."""
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), PUBLISH]))
    agent.wait_file(1, "src/begun")
    daemon.offer(daemon.job(1, {}, fence=2, run=[PUBLISH]))
    assert daemon.result(1)["fence"] == 2
    agent.gone(1)
    agent.gone(1, 2)
    assert [r["fence"] for r in daemon.results[1]] == [2]


def test_finish_whose_answer_is_lost_is_repeated(daemon, agent):
    lost = []

    def lose_first(d, handler, request):
        lost.append(1)
        if len(lost) == 1:
            raise Drop

    daemon.faults["finish:after"] = lose_first
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    wait_for(lambda: len(daemon.results.get(1, [])) == 2, "the same result twice")
    first, second = daemon.results[1]
    assert first == second
    agent.gone(1)


def test_result_the_daemon_cannot_read_is_sent_once_more_without_ornaments(daemon, agent):
    def refuse_first(d, handler, request):
        if b'"ok":true' in request["body"].replace(b" ", b""):
            handler.problem(422, "artifacts[0]: no")
            return True

    daemon.faults["finish"] = refuse_first
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    result = daemon.result(1)
    assert result["end_reason"] == "setup" and "artifacts[0]: no" in result["message"]
    agent.gone(1)


def test_start_that_is_not_acknowledged_does_not_run(daemon, agent):
    daemon.faults["start"] = lambda d, handler, request: handler.problem(503, "later") or True
    daemon.offer(daemon.job(1, {}, run=["touch begun", PUBLISH]))
    agent.wait_log("start is not acknowledged")
    assert not (agent.attempt_dir(1) / "pid").exists()
    daemon.faults.clear()
    assert daemon.result(1)["ok"]


def test_heartbeats_of_all_attempts_go_in_one_request(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=[hold("go"), PUBLISH]))
    daemon.offer(daemon.job(2, {}, run=[hold("go"), PUBLISH]))
    beat = wait_for(lambda: next((b for b in daemon.beats if len(b["attempts"]) == 2 and
                                  all(a["phase"] == "run" for a in b["attempts"])), None), "a common heartbeat")
    assert {a["attempt_id"]: a["fence"] for a in beat["attempts"]} == {1: 1, 2: 1}
    for attempt in (1, 2):
        agent.let_go(attempt)
        assert daemon.result(attempt)["ok"]


def test_cancel_through_the_heartbeat(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["trap 'echo tidy; exit 0' TERM", "touch begun", hold("go")], grace_ms=30000))
    agent.wait_file(1, "src/begun")
    with daemon.lock:
        daemon.cancel.add(1)
    result = daemon.result(1)
    assert result["end_reason"] == "cancelled" and not result["ok"]
    assert b"tidy" in bytes(daemon.logs[1])


def test_cancel_while_it_fetches(daemon, agent):
    import threading
    release = threading.Event()
    daemon.faults["blob:GET"] = lambda d, handler, request: release.wait(60) and False
    daemon.offer(daemon.job(1, {}, run=["touch begun", PUBLISH]))
    wait_for(lambda: daemon.count("GET", "/blobs/"), "the download")
    with daemon.lock:
        daemon.cancel.add(1)
    agent.wait_log("cancelled by the daemon")
    result = daemon.result(1)
    release.set()
    assert result["end_reason"] == "cancelled"
    assert not (agent.attempt_dir(1) / "src/begun").exists()
