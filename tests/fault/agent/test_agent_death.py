"""kill -9 of anything: nothing is lost, nothing runs twice with effect."""
import os
import pathlib
import signal
import threading

from agent_daemon import Drop, wait_for
from agent_process import PUBLISH, alive, body_of, hold


def test_agent_killed_while_a_stage_runs(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["echo one", hold("go"), "echo two", PUBLISH]))
    wait_for(lambda: b"one\n" in daemon.logs.get(1, b""), "the first line")
    pid = agent.pid_of(1)
    agent.kill()
    assert alive(pid)
    agent.start()
    agent.wait_log("adopted, it is running")
    assert agent.pid_of(1) == pid
    agent.let_go(1)
    assert daemon.result(1)["ok"]
    agent.gone(1)
    assert body_of(bytes(daemon.logs[1])) == ["one", "two"]
    assert len(daemon.results[1]) == 1
    assert daemon.started == [(1, 1)]


def test_stage_ends_while_no_agent_runs(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), "echo end", PUBLISH]))
    agent.wait_file(1, "src/begun")
    agent.kill()
    agent.let_go(1)
    agent.wait_file(1, "result.json")
    agent.start()
    result = daemon.result(1)
    assert result["ok"] and len(result["artifacts"]) == 2
    assert all(a["sha256"] in daemon.blobs for a in result["artifacts"])
    assert body_of(bytes(daemon.logs[1])) == ["end"]


def test_agent_killed_again_and_again(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["i=0; while ! test -e go; do echo tick $i; i=$((i+1)); sleep 0.02; done", "echo last", PUBLISH]))
    agent.wait_file(1, "pid")
    for _ in range(4):
        before = len(daemon.logs[1])
        wait_for(lambda: len(daemon.logs[1]) > before, "log to arrive")
        agent.kill()
        agent.start()
    agent.let_go(1)
    assert daemon.result(1)["ok"]
    lines = body_of(bytes(daemon.logs[1]))
    assert lines == [f"tick {i}" for i in range(len(lines) - 1)] + ["last"]


def test_agent_killed_before_the_stage_began(daemon, agent):
    release = threading.Event()
    daemon.faults["blob:GET"] = lambda d, handler, request: release.wait(60) and False
    daemon.offer(daemon.job(1, {"x": "y\n"}, run=["cat x", PUBLISH]))
    wait_for(lambda: daemon.count("GET", "/blobs/"), "the download")
    agent.kill()
    release.set()
    daemon.faults.clear()
    agent.start()
    agent.wait_log("adopted, it had not begun")
    assert daemon.result(1)["ok"]
    assert body_of(bytes(daemon.logs[1])) == ["y"]


def test_attempt_process_killed_under_the_agent(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["echo alive", hold("go")]))
    log = agent.wait_file(1, "log")
    wait_for(lambda: b"\nalive\n" in log.read_bytes(), "the line in the spool")  # in the pipe it would die with the process
    os.kill(agent.pid_of(1), signal.SIGKILL)
    result = daemon.result(1)
    assert result["end_reason"] == "agent_lost" and "signal 9" in result["message"]
    assert body_of(bytes(daemon.logs[1])) == ["alive"]
    agent.gone(1)
    children = pathlib.Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    if children.exists():  # what the stage left goes to the agent, its subreaper
        wait_for(lambda: not children.read_text().split(), "the agent to reap what a killed attempt left to it", 60)


def test_attempt_process_killed_while_no_agent_runs(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go")]))
    agent.wait_file(1, "src/begun")
    pid = agent.pid_of(1)
    agent.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), "its death")
    agent.start()
    result = daemon.result(1)
    assert result["end_reason"] == "agent_lost" and "vanished" in result["message"]


def test_a_killed_attempt_keeps_the_tail_of_its_log(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["seq -f 'line %.0f' 20000", "touch printed", hold("go")],
                            limits={"memory_bytes": 0, "log_bytes": 65536}))
    agent.wait_file(1, "src/printed")
    tail = agent.wait_file(1, "log.tail")
    wait_for(lambda: b"line 20000\n" in tail.read_bytes(), "the last line in the ring")
    os.kill(agent.pid_of(1), signal.SIGKILL)
    daemon.result(1)
    log = bytes(daemon.logs[1])
    assert len(log) <= 65536 and b"line 1\n" in log and b"line 20000\n" in log and b"log cut here" in log


def test_the_stage_dies_with_its_attempt_process(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["echo pids; touch begun", "while :; do echo x >> beat; sleep 0.02; done"]))
    beat = agent.wait_file(1, "src/beat")
    keep = open(beat, "rb")  # the file outlives its directory
    os.kill(agent.pid_of(1), signal.SIGKILL)
    daemon.result(1)
    size = os.fstat(keep.fileno()).st_size
    daemon.offer(daemon.job(2, {}, run=[PUBLISH]))
    assert daemon.result(2)["ok"]  # some time has passed
    assert os.fstat(keep.fileno()).st_size == size
    keep.close()


def test_the_driver_crashes_the_attempt_process(daemon, agent):
    golden = daemon.blob(b'{"inputs":[],"outputs":[]}')
    model = daemon.blob(b"m")
    daemon.offer(daemon.job(1, {}, kind="verify", uses="fake/run", **{"with": {"fail_at": "crash"}},
                            model={"path": ".", "files": [{"path": "m", "exec": False, **model}]},
                            golden={"files": [{"path": "manifest.json", "exec": False, **golden}]}))
    assert daemon.result(1)["end_reason"] == "agent_lost"


def test_drain_waits_for_what_runs(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), PUBLISH]))
    agent.wait_file(1, "src/begun")
    agent.process.send_signal(signal.SIGTERM)
    agent.wait_log("draining")
    daemon.offer(daemon.job(2, {}, run=[PUBLISH]))  # must not be taken any more
    agent.let_go(1)
    assert agent.process.wait(60) == 0
    assert daemon.result(1)["ok"]
    assert not daemon.results.get(2)


def test_drain_gives_up_in_time(daemon, make_agent):
    agent = make_agent(drain="0s")
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go")], grace_ms=500))
    agent.wait_file(1, "src/begun")
    assert agent.stop() == 0
    result = daemon.result(1)
    assert result["end_reason"] == "agent_lost" and "agent was stopped" in result["message"]


def test_leave_running(daemon, make_agent):
    agent = make_agent(leave_running="true")
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), PUBLISH]))
    agent.wait_file(1, "src/begun")
    pid = agent.pid_of(1)
    assert agent.stop() == 0
    assert alive(pid)
    agent.start()
    agent.let_go(1)
    assert daemon.result(1)["ok"]


def test_left_over_rubbish_does_not_stop_the_agent(daemon, agent):
    agent.wait_log("works for")
    agent.kill()
    for name in ("5-1", "junk", "7-x"):
        (agent.state / "attempts" / name).mkdir()
    (agent.state / "attempts/5-1/job.json").write_text("{")
    agent.start()
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    assert daemon.result(1)["ok"]
    agent.gone(5)


def test_agent_killed_between_the_upload_and_the_report(daemon, agent):
    """All that the stage made has arrived, its result has not: the next agent reports it, and sends and runs nothing again."""
    asked, release = threading.Event(), threading.Event()

    def held(d, handler, request):
        if not asked.is_set():
            asked.set()
            release.wait(60)
            raise Drop

    daemon.faults["finish"] = held
    daemon.offer(daemon.job(1, {}, run=["echo once", PUBLISH]))
    assert asked.wait(60)
    agent.kill()
    release.set()
    puts = daemon.count("PUT", "/blobs/")
    assert puts == 2 and not daemon.results.get(1)
    agent.start()
    result = daemon.result(1)
    agent.gone(1)
    assert result["ok"] and all(a["sha256"] in daemon.blobs for a in result["artifacts"])
    assert daemon.count("PUT", "/blobs/") == puts
    assert daemon.started == [(1, 1)] and len(daemon.results[1]) == 1
    assert body_of(bytes(daemon.logs[1])) == ["once"]


def test_agent_killed_in_the_middle_of_an_upload(daemon, agent):
    """The first piece of a large artifact has arrived: the next agent goes on behind it."""
    puts, second, release = [], threading.Event(), threading.Event()

    def held(d, handler, request):
        puts.append(handler.headers.get("Content-Range"))
        if len(puts) == 3:  # the golden set's manifest, the first piece, this one
            second.set()
            release.wait(60)
            raise Drop

    daemon.faults["blob:PUT"] = held
    daemon.offer(daemon.job(1, {}, run=[f'{PUBLISH}; head -c 20000000 /dev/zero | tr "\\0" z > "$PORTOLAN_OUTPUTS/model/m.bin"']))
    assert second.wait(60)
    agent.kill()
    release.set()
    agent.start()
    result = daemon.result(1)
    big = next(a for a in result["artifacts"] if a["path"] == "model/m.bin")
    assert daemon.blobs[big["sha256"]] == b"z" * 20000000
    starts = [int(p.removeprefix("bytes ").split("-")[0]) for p in puts if p and p.endswith("/20000000")]
    assert starts.count(0) == 1 and len(starts) > 2, puts
