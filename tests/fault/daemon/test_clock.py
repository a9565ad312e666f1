"""The clock of the daemon's machine is set while a stage runs: no agent loses its attempt over it, and one that really is gone still does."""
from __future__ import annotations

import os
import time

import pytest
from conftest import Cluster
from portolan import wait_for
from slow import SANITIZED


@pytest.fixture
def clock(own_site):
    site = own_site
    file = site.dir / "clock"
    file.write_text("0")
    file.chmod(0o644)
    site.env = {"LD_PRELOAD": os.environ["PTL_CLOCK_SHIM"], "PTL_CLOCK_FILE": str(file)}
    if SANITIZED:
        site.env["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    cluster = Cluster(site.dir / "cluster", site.env)
    site.socket = cluster.socket
    site.settings["lease"] = "20s"

    def set_to(seconds: int) -> None:
        new = site.dir / "clock.new"
        new.write_text(str(seconds))
        new.chmod(0o644)
        before = float(site.sql("SELECT extract(epoch FROM clock_timestamp())"))
        new.rename(file)
        after = float(site.sql("SELECT extract(epoch FROM clock_timestamp())"))
        assert abs(after - before - (seconds - site.ahead)) < 60, "the shim is not in force in the database"
        site.ahead = seconds

    site.ahead, site.set_clock = 0, set_to
    try:
        site.start_daemon(database=f"host={cluster.socket} user=portolan dbname=portolan")
        yield site
    finally:
        site.stop_daemons()
        cluster.close()


@pytest.mark.parametrize("jump", [7200, -7200], ids=["forward", "back"])
def test_a_running_stage_outlives_a_set_clock(clock, jump):
    site = clock
    run = site.one_run()
    site.set_clock(jump)
    wait_for("the jump to be told", lambda: "clock went" in site.log())
    beats = site.attempt_log(site.export["attempt_id"]).count("\n")
    wait_for("the stage to go on", lambda: site.attempt_log(site.export["attempt_id"]).count("\n") > beats + 20)
    site.let_go()
    site.whole(run)
    assert "silent past its lease" not in site.log()


def test_a_lost_agent_is_missed_also_when_the_clock_was_set_back(clock):
    site = clock
    run = site.one_run()
    site.agents["one"].kill()
    site.agents.pop("one").wait(10)
    site.set_clock(-7200)
    # Without a new lease it would be kept for two hours more.
    wait_for("the attempt to be lost", lambda: site.stage(run, "export")["fence"] == 1 and site.stage(run, "export")["state"] == "queued", 120)


def test_a_daemon_that_was_away_longer_than_a_lease_hears_its_agents_first(own_site):
    site = own_site
    site.settings["lease"] = "10s"
    site.start_daemon()
    run = site.one_run()
    port = site.url.rsplit(":", 1)[1]
    site.daemons[-1].terminate()
    site.daemons[-1].wait(60)
    time.sleep(12)
    site.start_daemon(**{"listen-address": f"127.0.0.1:{port}"})
    site.let_go()
    site.whole(run)
    assert "leases of 1 stages begin anew" in site.log()
