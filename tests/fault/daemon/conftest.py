"""A daemon, its private PostgreSQL and an agent, for tests that break what they stand on."""
import glob
import os
import pathlib
import pwd
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from portolan import Site, wait_for  # noqa: E402

# Goes on until the test lets it, so that the fault falls into the middle on any machine.
STEPS = """
version: 1
model: steady
export:
  run: ["i=0; while ! test -e GO; do i=$((i+1)); echo step $i; sleep 0.1; done; echo last", "mkdir -p $PORTOLAN_OUTPUTS/model", "head -c 3000000 /dev/urandom > $PORTOLAN_OUTPUTS/model/w", "sha256sum < $PORTOLAN_OUTPUTS/model/w"]
  outputs: [model/w]
targets:
  server: {host: server, verify: {run: ["sha256sum < $PORTOLAN_INPUTS/model/w", "echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}}
"""


class Broken(Site):
    def one_run(self, name: str = "steady") -> int:
        self.start_agent("one")
        self.project(name, STEPS)
        run = self.run(name)
        self.until_stage(run, "export", "running")
        self.export = self.stage(run, "export")
        wait_for("something of its log", lambda: "step 1" in self.attempt_log(self.export["attempt_id"]))
        return run

    def let_go(self) -> None:
        (self.dir / "agent-one" / "attempts" / f"{self.export['attempt_id']}-{self.export['fence']}" / "src" / "GO").touch()

    def whole(self, run: int) -> None:
        """It went green at the first try, with every line of its log, and verify saw the bytes that export made."""
        got = self.until(run, "green", "red")
        assert got["state"] == "green", got
        assert [s["fence"] for s in got["stages"]] == [1, 1], "nothing ran a second time"
        logs = [self.attempt_log(s["attempt_id"]).splitlines() for s in got["stages"]]
        steps = [line for line in logs[0] if line.startswith(("step ", "last"))]
        assert steps == [f"step {i}" for i in range(1, len(steps))] + ["last"], "no line lost or doubled"
        sums = [[line for line in log if line.endswith("  -") and len(line) == 67] for log in logs]
        assert len(sums[0]) == 1 and sums[0] == sums[1]

    def close(self) -> None:
        # What an agent that was killed left running ends with the test, by the pid it wrote down.
        for file in self.dir.glob("agent-*/attempts/*/pid"):
            pid = int(file.read_text().split()[0])
            try:
                if str(self.dir).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        super().close()

    def postmaster(self) -> int:
        """Its pid; 0 while there is none that serves."""
        lines = [line.strip() for file in (self.dir / "state" / "postgres").rglob("postmaster.pid") for line in file.read_text().splitlines()]
        return int(lines[0]) if "ready" in lines[1:] else 0

    def kill_postgresql(self) -> None:
        """Returns when another one serves."""
        killed = self.postmaster()
        os.kill(killed, signal.SIGKILL)
        wait_for("another PostgreSQL", lambda: self.postmaster() not in (0, killed), 90)
        wait_for("the database to be back", lambda: self.call("GET", "/readyz", token="").status == 200, 90)


class Cluster:
    """A PostgreSQL of the test's own: the daemon gives its private one a clean environment, and this one must have a clock that is set."""

    def __init__(self, folder: pathlib.Path, env: dict[str, str]):
        self.socket, data = folder / "socket", folder / "data"
        self.who = {}
        folder.mkdir()
        self.socket.mkdir()
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            self.who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (folder, self.socket, data):
                os.chown(path, user.pw_uid, user.pw_gid)
        programs = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]).parent
        plain = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
        subprocess.run([programs / "initdb", "-D", data, "-U", "portolan", "-A", "trust", "-E", "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/", env=plain, **self.who)
        self.process = subprocess.Popen([programs / "postgres", "-D", data, "-k", self.socket, "-c", "listen_addresses=", "-c", "fsync=off"], stdin=subprocess.DEVNULL,
                                        stdout=open(folder / "log", "ab"), stderr=subprocess.STDOUT, cwd="/", env={**plain, **env}, **self.who)
        made = [programs / "createdb", "-h", self.socket, "-U", "portolan", "portolan"]
        wait_for("the cluster to serve", lambda: subprocess.run(made, capture_output=True, cwd="/", env=plain, **self.who).returncode == 0)

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


@pytest.fixture
def own_site():
    s = Broken()
    try:
        yield s
    finally:
        s.close()
