"""Blobs: verified both ways, resumed both ways, bounded on disk."""
import os

from agent_daemon import Drop, wait_for
from agent_process import PUBLISH, body_of, hold

BIG = bytes(range(256)) * 8192  # 2 MiB


def with_model(daemon, attempt, data, **members):
    model = {"path": ".", "files": [{"path": "sub/big.bin", "exec": False, **daemon.blob(data)},
                                    {"path": "tool", "exec": True, **daemon.blob(b"#!/bin/sh\necho tool runs\n")}]}
    return daemon.job(attempt, {"a/b.txt": "source\n", "x.sh": "#!/bin/sh\necho script\n"}, model=model,
                      run=["cat a/b.txt; ./x.sh; $PORTOLAN_INPUTS/model/tool; sha256sum < $PORTOLAN_INPUTS/model/sub/big.bin", PUBLISH],
                      **members)


def test_inputs_arrive_whole(daemon, agent):
    import hashlib
    daemon.offer(with_model(daemon, 1, BIG))
    assert daemon.result(1)["ok"]
    assert body_of(bytes(daemon.logs[1])) == ["source", "script", "tool runs", hashlib.sha256(BIG).hexdigest() + "  -"]
    gets = daemon.count("GET", "/blobs/")
    daemon.offer(with_model(daemon, 2, BIG))
    assert daemon.result(2)["ok"]
    assert daemon.count("GET", "/blobs/") == gets  # all from the cache


def test_a_damaged_download_is_fetched_again(daemon, agent):
    damaged = []

    def damage_once(d, handler, request):
        data = d.blobs[request["sha256"]]
        if len(data) == len(BIG) and not damaged:
            damaged.append(1)
            handler.answer(200, raw=b"\0" * len(data))
            return True

    daemon.faults["blob:GET"] = damage_once
    daemon.offer(with_model(daemon, 1, BIG))
    assert daemon.result(1)["ok"]
    assert damaged


def test_a_blob_that_stays_damaged_is_a_setup_failure(daemon, agent):
    def damage(d, handler, request):
        data = d.blobs[request["sha256"]]
        if len(data) == len(BIG):
            handler.answer(200, raw=b"\0" * len(data))
            return True

    daemon.faults["blob:GET"] = damage
    daemon.offer(with_model(daemon, 1, BIG))
    result = daemon.result(1)
    assert result["end_reason"] == "setup" and "another SHA-256" in result["message"], result
    assert result["message"] in bytes(daemon.logs[1]).decode()
    agent.gone(1)


def test_a_missing_blob_is_a_setup_failure(daemon, agent):
    job = with_model(daemon, 1, BIG)
    del daemon.blobs[job["model"]["files"][0]["sha256"]]
    daemon.offer(job)
    result = daemon.result(1)
    assert result["end_reason"] == "setup" and "sub/big.bin" in result["message"], result


def test_a_cut_download_goes_on_where_it_stopped(daemon, agent):
    cut = []

    def cut_once(d, handler, request):
        data = d.blobs[request["sha256"]]
        if len(data) == len(BIG) and not cut:
            cut.append(1)
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[:1_000_000])
            handler.wfile.flush()
            # the agent must have taken some of it before the line breaks
            part = agent.state / "cache" / (request["sha256"] + ".part")
            wait_for(lambda: part.exists() and part.stat().st_size >= 500_000, "half of the blob on disk")
            raise Drop

    daemon.faults["blob:GET"] = cut_once
    daemon.offer(with_model(daemon, 1, BIG))
    assert daemon.result(1)["ok"]
    ranges = [h.get("Range") for m, p, h in daemon.requests if m == "GET" and "/blobs/" in p]
    assert any(r and r != "bytes=0-" for r in ranges), ranges


def test_a_cache_damaged_on_disk_is_noticed(daemon, agent):
    daemon.offer(with_model(daemon, 1, BIG))
    assert daemon.result(1)["ok"]
    agent.gone(1)
    name = next(b for b, data in daemon.blobs.items() if data == BIG)
    (agent.state / "cache" / name).write_bytes(b"\0" * len(BIG))
    daemon.offer(with_model(daemon, 2, BIG))
    assert daemon.result(2)["ok"]
    assert "damaged on disk" in agent.log()


def test_a_stage_cannot_change_the_cache(daemon, agent):
    model = {"path": ".", "files": [{"path": "big.bin", "exec": False, **daemon.blob(BIG)}]}
    daemon.offer(daemon.job(1, {}, model=model, run=[
        "echo x >> $PORTOLAN_INPUTS/model/big.bin && echo WROTE; rm $PORTOLAN_INPUTS/model/big.bin && echo REMOVED; "
        "chmod 777 $PORTOLAN_INPUTS/model/big.bin && echo CHANGED; true", PUBLISH]))
    assert daemon.result(1)["ok"]
    assert not {"WROTE", "REMOVED", "CHANGED"} & set(body_of(bytes(daemon.logs[1])))
    name = next(b for b, data in daemon.blobs.items() if data == BIG)
    assert (agent.state / "cache" / name).read_bytes() == BIG


def test_the_cache_is_bounded(daemon, make_agent):
    agent = make_agent(cache_size="3MiB", slots="1")
    for attempt in range(1, 5):
        daemon.offer(with_model(daemon, attempt, BIG + bytes([attempt])))
        assert daemon.result(attempt)["ok"]
    sizes = {p.name: p.stat().st_size for p in (agent.state / "cache").iterdir() if not p.name.startswith(".")}
    assert sum(sizes.values()) <= 3 << 20
    import hashlib
    assert hashlib.sha256(BIG + bytes([4])).hexdigest() in sizes  # the newest stayed
    assert hashlib.sha256(BIG + bytes([1])).hexdigest() not in sizes


def test_a_source_that_reaches_outside_is_refused(daemon, agent):
    import io
    import tarfile
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("../../escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    job = daemon.job(1, {}, run=[PUBLISH])
    job["source"] = daemon.blob(out.getvalue())
    daemon.offer(job)
    result = daemon.result(1)
    assert result["end_reason"] == "setup" and "source snapshot" in result["message"]
    assert not (agent.state / "attempts/escaped").exists()


def test_input_paths_that_reach_outside_are_refused(daemon, agent):
    model = {"path": ".", "files": [{"path": "../../../x", "exec": False, **daemon.blob(b"x")}]}
    daemon.offer(daemon.job(1, {}, model=model, run=[PUBLISH]))
    result = daemon.result(1)
    assert result["end_reason"] == "setup" and "safe relative path" in result["message"]


BIG_OUT = "mkdir -p $PORTOLAN_OUTPUTS/model; head -c 20000000 /dev/zero | tr '\\0' 'z' > $PORTOLAN_OUTPUTS/model/big"


def test_a_cut_upload_goes_on_where_it_stopped(daemon, agent):
    puts = []

    def cut_second(d, handler, request):
        puts.append(handler.headers.get("Content-Range"))
        if len(puts) == 2:
            raise Drop

    daemon.faults["blob:PUT"] = cut_second
    daemon.offer(daemon.job(1, {}, run=[BIG_OUT]))
    result = daemon.result(1)
    big = next(a for a in result["artifacts"] if a["path"] == "model/big")
    assert daemon.blobs[big["sha256"]] == b"z" * 20000000
    starts = [int(r.removeprefix("bytes ").split("-")[0]) for r in puts]
    assert len(starts) == 4 and starts[2] == starts[1] > 0, puts  # the first piece was not sent again


def test_what_the_daemon_has_is_not_sent_again(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    assert daemon.result(1)["ok"]
    puts = daemon.count("PUT", "/blobs/")
    assert puts == 2
    daemon.offer(daemon.job(2, {}, run=[PUBLISH]))
    assert daemon.result(2)["ok"]
    assert daemon.count("PUT", "/blobs/") == puts


def test_an_upload_damaged_on_the_way_is_sent_again(daemon, agent):
    refused = []

    def refuse_once(d, handler, request):
        if not refused:
            refused.append(1)
            handler.problem(409, "hash mismatch")
            return True

    daemon.faults["blob:PUT"] = refuse_once
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    assert daemon.result(1)["ok"]
    assert refused


def test_an_artifact_damaged_on_this_disk_is_told(daemon, agent):
    def damage(d, handler, request):
        file = agent.attempt_dir(1) / "outputs/model/m.bin"
        if file.read_text() == "weights\n":
            file.write_text("rotten!\n")
        return False

    daemon.faults["blob:HEAD"] = damage
    daemon.offer(daemon.job(1, {}, run=[PUBLISH]))
    result = daemon.result(1)
    assert not result["ok"] and "changed on this agent's disk" in result["message"], result
    assert result["artifacts"] == []


def test_kept_workspaces(daemon, make_agent):
    agent = make_agent(keep="true")
    daemon.offer(daemon.job(1, {}, run=["echo hello", PUBLISH]))
    assert daemon.result(1)["ok"]
    kept = agent.state / "kept/1-1"
    wait_for(kept.is_dir, "the kept workspace")
    assert (kept / "outputs/model/m.bin").read_text() == "weights\n"


def test_modes_of_the_state_directory(daemon, agent):
    daemon.offer(daemon.job(1, {}, run=["touch begun", hold("go"), PUBLISH]))
    agent.wait_file(1, "src/begun")
    assert os.stat(agent.state).st_mode & 0o077 == 0
    assert os.stat(agent.state / "agent.json").st_mode & 0o777 == 0o600
    assert os.stat(agent.attempt_dir(1) / "job.json").st_mode & 0o777 == 0o600
    agent.let_go(1)
    assert daemon.result(1)["ok"]
