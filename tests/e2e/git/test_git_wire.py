"""Mirrors over git:// (git daemon) and ssh (a real sshd)."""

import json
import os
import subprocess

import pytest
from conftest import failed
from git_servers import GitDaemon, SilentTcp, Sshd, git


def test_git_daemon(pushed):
    with GitDaemon(pushed.repos) as d:
        f = pushed.fetch(f"{d.base}/r.git")
        assert f["r"] == 0 and f["objects"] == 10, f
        assert pushed.fetch(f"{d.base}/r.git")["unchanged"]
        pushed.w.write("x", "y").commit("third")
        pushed.w.git("push", "-q", str(pushed.r), "main")
        f = pushed.fetch(f"{d.base}/r.git")
        assert f["r"] == 0 and f["objects"] == 3, f
        git("fsck", "--full", cwd=pushed.path / "m.git")
        failed(pushed.fetch(f"{d.base}/none.git", "n.git"), "ENOENT", "none.git")
        pushed.bare("empty.git")
        failed(pushed.fetch(f"{d.base}/empty.git", "n.git"), "ENODATA", "empty.git")
        failed(pushed.fetch(f"{d.base}/r.git", "n.git", policy={"schemes": ["https"]}), "EPERM", "git")
        failed(pushed.fetch(f"{d.base}/r.git", "n.git", policy={"allow_private_addresses": False}), "EPERM")
    failed(pushed.fetch(f"{d.base}/r.git"), "ECONNREFUSED", "r.git")


def test_silent_peer(pushed):
    with SilentTcp() as s:
        for url in (f"git://127.0.0.1:{s.port}/r.git", f"ssh://git@127.0.0.1:{s.port}/r.git", f"https://127.0.0.1:{s.port}/r.git"):
            failed(pushed.fetch(url, policy={"idle_ms": 300}), "ETIMEDOUT", "r.git")
            failed(pushed.fetch(url, deadline_ms=300), "ETIMEDOUT", "r.git")


sshd_only = pytest.mark.skipif(not Sshd.find(), reason="openssh-server is not installed")


@pytest.fixture(scope="module")
def sshd():
    with Sshd() as s:
        yield s


@pytest.fixture
def ssh(pushed, sshd):
    pushed.policy["ssh_known_hosts"] = str(sshd.known_hosts)
    pushed.key = (sshd.dir / "client").read_text()
    pushed.cred = {"kind": "ssh_key", "secret": pushed.key}
    pushed.url = f"{sshd.base}{pushed.r}"
    return pushed


@sshd_only
def test_ssh(ssh, sshd):
    f = ssh.fetch(ssh.url, credentials=ssh.cred)
    assert f["r"] == 0 and f["objects"] == 10, f
    assert ssh.fetch(ssh.url, credentials=ssh.cred)["unchanged"]
    f = ssh.fetch(ssh.url, "n.git", credentials={"kind": "ssh_key_file", "secret": str(sshd.dir / "client")})
    assert f["r"] == 0, f
    f = ssh.fetch(ssh.url, "o.git", credentials={"kind": "ssh_key", "secret": ssh.key.rstrip("\n")})
    assert f["r"] == 0, f
    git("fsck", "--full", cwd=ssh.path / "m.git")


@sshd_only
def test_ssh_home_and_odd_paths(ssh, sshd):
    odd = ssh.repos / "it's a $(touch x) `id` \"repo\".git"
    git("clone", "-q", "--bare", str(ssh.r), str(odd))
    quoted = str(odd).replace(" ", "%20").replace('"', "%22").replace("`", "%60")
    f = ssh.fetch(f"{sshd.base}{quoted}", credentials=ssh.cred)
    assert f["r"] == 0, f
    assert not os.path.exists("x")


@sshd_only
def test_ssh_refusals(ssh, sshd):
    f = ssh.fetch(ssh.url, credentials={"kind": "ssh_key", "secret": (sshd.dir / "stranger").read_text()})
    failed(f, "EACCES", "refused the SSH key", "r.git")
    assert "PRIVATE KEY" not in json.dumps(f)
    failed(ssh.fetch(ssh.url), "EACCES", "has none")
    f = ssh.fetch(ssh.url, credentials=ssh.cred, policy={"ssh_known_hosts": str(sshd.wrong_hosts)})
    failed(f, "EACCES", "host key", "wrong_hosts")
    f = ssh.fetch(ssh.url, credentials=ssh.cred, policy={"ssh_known_hosts": "/nonexistent/known_hosts"})
    failed(f, "EACCES", "host key")
    failed(ssh.fetch(f"{sshd.base}/none.git", credentials=ssh.cred), "ENOENT", "none.git")
    failed(ssh.fetch(ssh.url, credentials={"kind": "token", "secret": "tok-0123456789"}), "EINVAL")
    failed(ssh.fetch(ssh.url, credentials=ssh.cred, policy={"allow_private_addresses": False}), "EPERM")
    failed(ssh.fetch(ssh.url, credentials=ssh.cred, policy={"ssh_program": "/nonexistent/ssh"}), "ENOENT", "ssh cannot be started")
    assert not (ssh.path / "m.git").exists()


@sshd_only
def test_ssh_rsa_key(pushed):
    """RSA keys against a current server: what libssh2 of Debian 12 cannot do."""
    with Sshd("rsa") as s:
        cred = {"kind": "ssh_key", "secret": (s.dir / "client").read_text()}
        f = pushed.fetch(f"{s.base}{pushed.r}", credentials=cred, policy={"ssh_known_hosts": str(s.known_hosts)})
        assert f["r"] == 0, f


@sshd_only
def test_no_child_is_left(ssh, sshd):
    with SilentTcp() as silent:
        ssh.fetch(f"ssh://git@127.0.0.1:{silent.port}/r.git", deadline_ms=300)
        out = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert f"Port={silent.port}" not in out
