"""A daemon, and an agent played by the test: stages end as it says, with the log and the environment it says."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from portolan import Site, wait_for  # noqa: E402

PIPELINE = """
version: 1
model: toy
export: {run: ["true"]}
targets:
  server: {host: server, verify: {run: ["true"]}}
  android: {host: mobile, verify: {run: ["true"]}}
"""


class Past(Site):
    """A site whose runs go as told: history.end(run, {"verify/android": "log of a failure"})."""

    def play(self, name: str = "player") -> None:
        self.player = name
        self.inventory = {"hosts": ["server", "mobile", "browser"], "slots": 8}
        once = self.ok("POST", "/api/v1/agents/enrol-tokens", {"name": name, "hosts": ["server", "mobile", "browser"]})["token"]
        self.agent_token = self.ok("POST", "/api/v1/agent/enroll", {"token": once, "name": name, "inventory": self.inventory}, token="")["token"]

    def finish(self, job: dict, log: str | None, environment: dict | None = None, **more) -> None:
        """log None: it goes well."""
        text = (log or "all went well\n").encode()
        self.ok("POST", f"/api/v1/agent/attempts/{job['attempt_id']}/start", {"fence": job["fence"]}, token=self.agent_token)
        self.ok("PUT", f"/api/v1/agent/attempts/{job['attempt_id']}/log?fence={job['fence']}&offset=0", raw=text, token=self.agent_token)
        self.ok("POST", f"/api/v1/agent/attempts/{job['attempt_id']}/finish", {"fence": job["fence"], "end_reason": "exit", "exit_code": 0 if log is None else 1, "ok": log is None, "message": "" if log is None else "exit code 1",
                "duration_ms": 60000, "log_bytes": len(text), "environment": environment or {}, **more}, token=self.agent_token)

    def end(self, run: int, failures: dict[str, str], environment: dict | None = None, environments: dict[str, dict] | None = None) -> dict[str, int]:
        """Plays the run to its end and returns the last attempt of each stage."""
        attempts: dict[str, int] = {}
        while True:
            got = self.get(run)
            if got["state"] in ("green", "red", "cancelled", "invalid"):
                assert got["state"] != "invalid", got["message"]
                break
            for job in self.ok("POST", "/api/v1/agent/claim", {"free_slots": 8, "wait_ms": 300, "inventory": self.inventory}, token=self.agent_token)["claims"]:
                if job["run_id"] == run:
                    attempts[job["name"]] = job["attempt_id"]
                self.finish(job, failures.get(job["name"]) if job["run_id"] == run else None, (environments or {}).get(job["name"], environment))
        wait_for("diagnoses", lambda: self.sql(f"SELECT count(*) FROM attempt a JOIN stage s ON s.id = a.stage_id WHERE s.run_id = {run} AND a.diagnosis_state = 'pending'") == "0", 60)
        return attempts

    def fail(self, project: str, log: str, stage: str = "verify/server", environment: dict | None = None) -> int:
        """One run of the project in which this stage fails so; returns the attempt."""
        return self.end(self.run(project), {stage: log}, environment)[stage]

    def failures(self, query: str = "", token: str | None = None) -> list[dict]:
        return self.ok("GET", f"/api/v1/failures?{query}", **({"token": token} if token else {}))["items"]

    def facets(self, query: str = "", token: str | None = None) -> dict:
        got = self.ok("GET", f"/api/v1/failures/facets?{query}", **({"token": token} if token else {}))
        return {"total": got["total"], "capped": got["capped"], "note": got["note"], **{name: {v["value"]: v["count"] for v in values} for name, values in got["facets"].items()}}

    def viewer(self, name: str, project: str | None = None, role: str = "viewer") -> str:
        return self.ok("POST", "/api/v1/tokens", {"name": name, "role": role, **({"project": project} if project else {})})["token"]


@pytest.fixture(scope="module")
def past():
    s = Past()
    try:
        s.start_daemon()
        s.play()
        for name in ("north", "south"):
            s.project(name, PIPELINE)
        yield s
    finally:
        s.close()


@pytest.fixture
def own_past():
    """A daemon of its own for tests that kill it."""
    s = Past()
    try:
        yield s
    finally:
        s.close()
