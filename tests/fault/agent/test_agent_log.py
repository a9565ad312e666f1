"""Log shipping: whatever breaks on the way, the daemon ends with exactly the bytes of the stage, once."""
from agent_daemon import Drop, wait_for
from agent_process import PUBLISH, body_of, hold

LINES = 3000
PRINT = f"i=0; while [ $i -lt {LINES} ]; do echo line $i of a log that is shipped in pieces; i=$((i+1)); done"
EXPECTED = [f"line {i} of a log that is shipped in pieces" for i in range(LINES)]


def finished(daemon, attempt):
    result = daemon.result(attempt)
    assert result["ok"], (result["end_reason"], result["message"])
    assert result["log_bytes"] == len(daemon.logs[attempt])
    return body_of(bytes(daemon.logs[attempt]))


def test_daemon_away_in_the_middle_and_back(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["echo before", hold("go"), PRINT, "touch printed", hold("on"), "echo after", PUBLISH]))
    wait_for(lambda: b"before\n" in daemon.logs.get(1, b""), "the first line live")
    daemon.stop()
    agent.let_go(1)
    agent.wait_file(1, "src/printed")  # printed while nobody listened
    daemon.start()
    wait_for(lambda: b"line 2999 of" in daemon.logs[1], "the lines printed meanwhile")
    agent.let_go(1, "on")
    assert finished(daemon, 1) == ["before", *EXPECTED, "after"]


def test_daemon_away_until_after_the_end(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=[hold("go"), PRINT, PUBLISH]))
    agent.wait_file(1, "pid")
    wait_for(lambda: daemon.started, "start")
    daemon.stop()
    agent.let_go(1)
    agent.wait_file(1, "result.json")
    daemon.start()
    assert finished(daemon, 1) == EXPECTED
    agent.gone(1)


def test_answers_lost_after_the_bytes_were_kept(daemon, agent):
    lost = []

    def lose_every_second(d, handler, request):
        lost.append(1)
        if len(lost) % 2:
            raise Drop

    daemon.faults["log:after"] = lose_every_second
    daemon.offer(daemon.job(1, {}, run=[PRINT, hold("go"), PRINT, PUBLISH]))
    wait_for(lambda: len(lost) >= 2, "a chunk sent twice")
    agent.let_go(1)
    assert finished(daemon, 1) == EXPECTED + EXPECTED


def test_chunks_half_kept(daemon, agent):
    """The daemon takes some bytes and says where to go on."""
    def keep_a_part(d, handler, request):
        offset, data = int(request["query"]["offset"]), request["body"]
        log = d.logs[request["attempt"]]
        if offset == len(log):
            log += data[:7777]
        handler.answer(200, {"next_offset": len(log)})
        return True

    daemon.faults["log"] = keep_a_part
    daemon.offer(daemon.job(1, {}, run=[PRINT, PUBLISH]))
    assert finished(daemon, 1) == EXPECTED


def test_a_daemon_restored_from_a_backup(daemon, agent):
    """It has fewer bytes than it acknowledged before: the agent goes back to where it stands."""
    daemon.offer(daemon.job(1, {}, run=[PRINT, hold("go"), "echo end", PUBLISH]))
    wait_for(lambda: b"line 2999 of" in daemon.logs.get(1, b""), "the whole first part")
    with daemon.lock:
        del daemon.logs[1][1000:]
    agent.let_go(1)
    assert finished(daemon, 1) == [*EXPECTED, "end"]


def test_errors_of_the_server_are_waited_out(daemon, agent):
    seen = []

    def busy_thrice(d, handler, request):
        seen.append(1)
        if len(seen) <= 3:
            handler.problem((503, 429, 500)[len(seen) - 1], "not now")
            return True

    daemon.faults["log"] = busy_thrice
    daemon.offer(daemon.job(1, {}, run=[PRINT, PUBLISH]))
    assert finished(daemon, 1) == EXPECTED
    assert len(seen) >= 4


def test_a_log_that_is_refused_does_not_hold_up_the_result(daemon, agent):
    def refuse(d, handler, request):
        handler.problem(422, "no logs today")
        return True

    daemon.faults["log"] = refuse
    daemon.offer(daemon.job(1, {}, run=["echo hello", PUBLISH]))
    assert daemon.result(1)["ok"]
    assert "the rest of its log is not sent" in agent.log()


def test_secrets_never_leave_the_host(daemon, agent):
    secret = "hunter2-is-a-secret-with-length"
    daemon.offer(daemon.job(1, {}, secrets={"KEY": secret}, run=['echo "key $KEY"', 'printf "%s" "$KEY" | base64', PUBLISH]))
    lines = finished(daemon, 1)
    assert lines[0] == "key ***"
    assert secret.encode() not in bytes(daemon.logs[1])
    assert b"aHVudGVyMi1pcy1h" not in bytes(daemon.logs[1])
    agent.gone(1)
    assert secret not in agent.log()
