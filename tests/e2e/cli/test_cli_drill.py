"""portolan drill: what there is, what it covers, and what is said before anything is started."""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import types


def test_list_and_coverage(alone):
    out = alone("drill", "list", "page-c*").ok().out
    assert "page-cors " in out and "browser/model-loading/loading-from-a-http-endpoint" in out and "page-op-not" not in out
    rows = [json.loads(line) for line in alone("drill", "list", "--json").ok().out.splitlines()]
    assert len(rows) >= 60 and all(r["expect"] and r["stage"] and r["title"] for r in rows)
    covered = alone("drill", "coverage", "--json").ok().json
    assert covered["nodes"] == 81 and len(covered["covered"]) >= 45 and len(covered["covered"]) + len(covered["uncovered"]) == 81
    assert covered["earlier"] == {"covered": 6, "of": 92}
    assert "beside it: 6 of 92" in alone("drill", "coverage").ok().out
    fast = [json.loads(line)["name"] for line in alone("drill", "list", "--fast", "--json").ok().out.splitlines()]
    assert 0 < len(fast) < len(rows)


def test_what_cannot_be_run_is_said_before_anything_is_started(alone, cli, tmp_path):
    assert "no drill is called nothing-such" in alone("drill", "run", "nothing-such").failed(1).err
    alone("drill", "run", "--server", "http://127.0.0.1:1").failed(2, "--repos DIR")
    cli("drill", "run", "--repos", "absent").failed(4, "no such directory")
    alone("drill", "list", env={"PORTOLAN_DRILLS": str(tmp_path)}).failed(4, "PORTOLAN_DRILLS")
    alone("drill", "run", "page-cors", env={"PATH": str(tmp_path)}).failed(1, "python3")
    assert not os.listdir(tmp_path)


def test_the_token_for_a_running_daemon_is_on_no_command_line(cli, tmp_path):
    (tmp_path / "repos").mkdir()
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "python3"
    fake.write_text("#!/bin/sh\necho \"$@\"\necho \"token=$PORTOLAN_TOKEN\"\n")
    fake.chmod(0o755)
    out = cli("drill", "run", "page-cors", "--repos", "repos", "--parallel", "2", "--least", "85", "--timeout", "5m", env={"PATH": f"{tmp_path}/bin"}).ok().out
    argv, token = out.splitlines()
    assert "--url http://127.0.0.1" in argv and argv.endswith("--repos repos --only page-cors") and "--parallel 2" in argv and "--diagnosis 0.85" in argv and "--timeout 300" in argv
    assert token != "token=" and token[6:] not in argv


def driver():
    """The driver as a module: it has no suffix."""
    loader = importlib.machinery.SourceFileLoader("drill_driver", str(pathlib.Path(__file__).resolve().parents[2] / "drills" / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def result(run, expect: str, ranked: list[str], problem: str = "", state: str = "diagnosed"):
    drill = types.SimpleNamespace(name="x", stage="export", expect=[expect], doc={"title": "x"})
    r = run.Result(drill)
    r.diagnosis, r.problem, r.state = ranked, problem, state
    return r


def test_what_a_run_is_worth():
    run = driver()
    server, phone = "server/model-loading", "mobile/inference-speed"
    results = [result(run, server, [server]), result(run, server, [phone, server], state="unclear"), result(run, phone, [phone]), result(run, "infra/git", ["infra/tls"])]
    rows = {line.split()[0]: line.split()[1:] for line in run.shares(results).splitlines()[1:]}
    assert list(rows) == ["server", "mobile", "infra", "all"]
    assert rows["server"] == ["2", "2", "1", "50.0%", "2", "100.0%", "1"] and rows["infra"][2:4] == ["0", "0.0%"] and rows["all"] == ["4", "4", "2", "50.0%", "3", "75.0%", "1"]
    assert run.verdict(results, None) == 0 and run.verdict(results, 0.5) == 0
    assert run.verdict(results, 0.51) == 1
    assert run.verdict([result(run, server, [server], problem="green")], None) == 1
    assert run.verdict([], None) == 1
