"""What goes wrong: each has its exit code and says what to do next."""
import socket
import subprocess

import pytest

import standin
from standin import problem


def test_server_away(cli):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    cli("run", "list", "--server", f"http://127.0.0.1:{port}").failed(3, f"127.0.0.1:{port}", "Is portoland running", "--server URL")


@pytest.mark.parametrize("status,code,said", [
    (400, 2, "the reason"), (401, 3, "portolan login --server"), (403, 3, "portolan whoami"), (404, 4, "the reason"), (409, 5, "the reason"), (413, 2, "the reason"),
    (422, 2, "the reason"), (429, 3, "try again in a moment"), (500, 3, "The server answered 500"), (503, 3, "try again in a moment"), (302, 3, "The server answered 302"),
])
def test_statuses(server, cli, status, code, said):
    server.on("GET", "/api/v1/runs/12", (status, problem("Title", "the reason")))
    cli("run", "show", "12").failed(code, said)


def test_answers_that_are_no_answers(server, cli):
    server.on("GET", "/api/v1/runs/12", (200, b"<html>proxy</html>"))
    cli("run", "show", "12").failed(3, "not JSON")
    server.on("GET", "/api/v1/runs/12", (500, b"<html>proxy</html>"))
    cli("run", "show", "12").failed(3, "answered 500")
    server.on("GET", "/api/v1/runs/12", (404, problem("Not\x1b[2JFound", "no run \x1b]0;x\x07")))
    done = cli("run", "show", "12").failed(4)
    assert "\x1b" not in done.err and "\x07" not in done.err
    for odd in (b"[]", b"null", b"7", b'{"stages": 7, "state": [], "id": "x"}'):
        server.on("GET", "/api/v1/runs/12", (200, odd))
        assert cli("run", "show", "12").code == 0
        assert cli("why", "12").code in (0, 4)


def test_wrong_token(server, cli):
    done = cli("run", "list", "--token", "secret-token").failed(3, "the token comes from the options")
    assert "secret-token" not in done.err
    cli("run", "list", env={"PORTOLAN_TOKEN": ""}).failed(3, "no token was given")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    d = tmp_path_factory.mktemp("tls")
    made = {}
    for name in ("right", "wrong"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", d / f"{name}.key", "-out", d / f"{name}.pem"], check=True, capture_output=True)
        made[name] = (str(d / f"{name}.pem"), str(d / f"{name}.key"))
    return made


def test_tls(certificates, alone):
    server = standin.Standin(tls=certificates["right"])
    try:
        server.on("GET", "/api/v1/whoami", {"name": "alice", "role": "viewer", "may": []})
        args = ("whoami", "--server", server.url, "--token", standin.TOKEN)
        alone(*args).failed(3, "not trusted", "--ca-file")
        alone(*args, "--ca-file", certificates["wrong"][0]).failed(3, "not trusted")
        alone(*args, "--ca-file", "/nonexistent.pem").failed(2, "/nonexistent.pem")
        assert server.asked == []  # the token went nowhere
        assert "alice" in alone(*args, "--ca-file", certificates["right"][0]).ok().out
        assert "alice" in alone(*args, env={"PORTOLAN_CA_FILE": certificates["right"][0]}).ok().out
        alone("login", "--server", server.url, "--ca-file", certificates["right"][0], input=standin.TOKEN).ok()
        assert "alice" in alone("whoami").ok().out  # the authority is remembered
    finally:
        server.close()
