"""ask_oip.py PORT MODEL REQUESTS.json ANSWERS.json -- COMMAND...: start an engine, wait until it is ready, ask, end it.

Runs beside the engine in its network name space, as the server driver does. ANSWERS.json holds the exit status of an engine
that ended by itself, or the answers [status, body] to the requests [method, path, body] and how the engine ended on SIGTERM.
Standard library only.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from typing import Any

START_SECONDS = 60


def ask(port: int, method: str, path: str, body: Any = None) -> list[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            return [answer.status, json.loads(text) if text else None]
        except ValueError:
            return [answer.status, text]
    finally:
        connection.close()


def main() -> None:
    split = sys.argv.index("--")
    port, model, requests, answers = int(sys.argv[1]), *sys.argv[2:split]
    with open(requests, encoding="utf-8") as file:
        asked = json.load(file)
    result: dict[str, Any] = {}
    engine = subprocess.Popen(sys.argv[split + 1:])
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if ask(port, "GET", f"/v2/models/{model}/ready")[0] == 200:
                    break
            except OSError:
                pass
            try:
                result["ended"] = engine.wait(0.05)
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    result["ended"] = "not ready in time"
                    return
        result["answers"] = [ask(port, *request) for request in asked]
        with open(f"/proc/{engine.pid}/task/{engine.pid}/children", encoding="ascii") as children:
            result["children"] = children.read().split()
        engine.send_signal(signal.SIGTERM)
        result["stopped"] = engine.wait(30)
    finally:
        engine.kill()
        with open(answers, "w", encoding="utf-8") as file:
            json.dump(result, file)


if __name__ == "__main__":
    main()
