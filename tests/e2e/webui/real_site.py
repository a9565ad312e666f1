"""The main job's site for the browser: the daemon, agents of all three host kinds with the shipped toolchains, the example repositories served by git with their hooks. Nothing is
pushed until the test says so, so that it can watch: a line {"push": NAME, "message": TEXT} on stdin is answered by {"run": ID}. Ends when stdin closes."""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "main_job"))
from conftest import EXAMPLES, TOOLCHAINS, MainJob  # noqa: E402
from portolan import TOP  # noqa: E402


def main() -> None:
    done = subprocess.run([str(TOP / "agents" / "toolchains" / "prepare"), *TOOLCHAINS], stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit("a toolchain could not be prepared; its message is above")
    site = MainJob(lease="30s", **{"claim-lease": "15s"})
    try:
        site.start_daemon()
        for name in EXAMPLES:
            site.served(name, TOP / "deploy" / "examples" / name)
        site.start_agent("server", "server", slots="2")
        site.start_agent("mobile", "mobile")
        site.start_agent("browser", "browser")
        print(json.dumps({"url": site.url, "token": site.token, "dir": str(site.dir)}), flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps({"run": site.push(asked["push"], asked["message"])}), flush=True)
    finally:
        site.close()


if __name__ == "__main__":
    main()
