"""hook install and hook post-receive on real bare repositories, with real pushes."""
import os
import stat
import subprocess

import pytest

import standin
from standin import problem


@pytest.fixture
def repos(tmp_path, cli):
    """A bare repository and a working tree that pushes to it; git runs hooks in the environment of the command."""
    env = {**cli.env, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1"}

    class Repos:
        bare, work = tmp_path / "it's bare.git", tmp_path / "work"

        def git(self, *args, cwd=None):
            done = subprocess.run(["git", *args], cwd=cwd or self.work, env={**env, **self.env}, capture_output=True, text=True)
            assert done.returncode == 0, done
            return done.stdout.strip() + done.stderr

        def commit(self):
            self.git("commit", "-q", "--allow-empty", "-m", "x")
            return self.git("rev-parse", "HEAD")

        def push(self, *what):
            return self.git("push", str(self.bare), *what)

    r = Repos()
    r.env = {}
    r.git("init", "-q", "--bare", str(r.bare), cwd=tmp_path)
    r.git("init", "-q", "-b", "main", str(r.work), cwd=tmp_path)
    return r


def taken(asked):
    return 202, {"pushes": [{"ref": u["ref"], "push_id": 1, "run_id": 12, "outcome": None} for u in asked.json["updates"]]}


def test_install_and_push(server, cli, repos):
    server.on("POST", "/api/v1/projects/digits/pushes", taken)
    done = cli("hook", "install", repos.bare, "--project", "digits").ok()
    hook = repos.bare / "hooks/post-receive"
    assert "tells digits's pushes" in done.out and hook.stat().st_mode & stat.S_IXUSR
    sha = repos.commit()
    said = repos.push("main")
    assert "remote: portolan: main starts run 12; watch it: portolan run watch 12" in said
    assert server.last().json["updates"] == [{"ref": "refs/heads/main", "before": "0" * 40, "after": sha}]
    second = repos.commit()
    repos.git("tag", "v1")
    repos.push("main", "v1")
    assert server.last().json["updates"] == [{"ref": "refs/heads/main", "before": sha, "after": second}, {"ref": "refs/tags/v1", "before": "0" * 40, "after": second}]
    repos.push("--delete", "v1")
    assert server.last().json["updates"][0]["after"] == "0" * 40
    repos.git("update-ref", "refs/notes/x", "HEAD")
    count = len(server.asked)
    repos.push("refs/notes/x")
    assert len(server.asked) == count  # nothing that runs start from


def test_install_again_changes_nothing(server, cli, repos):
    cli("hook", "install", repos.bare, "--project", "digits").ok()
    hook = repos.bare / "hooks/post-receive"
    before = hook.read_text(), hook.stat().st_mtime_ns
    assert "up to date" in cli("hook", "install", repos.bare, "--project", "digits").ok().out
    assert before == (hook.read_text(), hook.stat().st_mtime_ns)
    cli("hook", "install", repos.bare, "--project", "other").ok()
    assert "'other'" in hook.read_text() and not (repos.bare / "hooks/post-receive.before-portolan").exists()


def test_a_hook_that_was_there_runs_first(server, cli, repos, tmp_path):
    server.on("POST", "/api/v1/projects/digits/pushes", taken)
    hook = repos.bare / "hooks/post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ncat > '{tmp_path}/seen'\necho old hook here\nexit 3\n")
    hook.chmod(0o755)
    assert "is kept and runs first" in cli("hook", "install", repos.bare, "--project", "digits").ok().out
    cli("hook", "install", repos.bare, "--project", "digits").ok()
    sha = repos.commit()
    said = repos.push("main")
    assert said.index("old hook here") < said.index("starts run 12")
    assert (tmp_path / "seen").read_text() == f"{'0' * 40} {sha} refs/heads/main\n"
    # a foreign hook again, and the place for it is taken
    hook.write_text("#!/bin/sh\n")
    cli("hook", "install", repos.bare, "--project", "digits").failed(5, "merge the two by hand")
    assert hook.read_text() == "#!/bin/sh\n"


def test_a_hook_that_was_off_stays_off(server, cli, repos):
    server.on("POST", "/api/v1/projects/digits/pushes", taken)
    hook = repos.bare / "hooks/post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho must not run\n")
    hook.chmod(0o644)
    cli("hook", "install", repos.bare, "--project", "digits").ok()
    repos.commit()
    said = repos.push("main")
    assert "must not run" not in said and "enied" not in said and "starts run 12" in said


def test_what_is_not_bare(cli, repos, tmp_path):
    cli("hook", "install", repos.work, "--project", "p").failed(2, "working tree", "--force")
    cli("hook", "install", repos.work / ".git", "--project", "p").failed(2, "working tree")
    cli("hook", "install", repos.work, "--project", "p", "--force").ok()
    assert (repos.work / ".git/hooks/post-receive").exists()
    cli("hook", "install", tmp_path, "--project", "p").failed(4, "no git repository")
    cli("hook", "install", tmp_path / "none", "--project", "p").failed(4, "no such directory")
    cli("hook", "install", repos.bare).failed(2, "which project?")


def test_hooks_path_of_the_repository(cli, repos, tmp_path):
    repos.git("config", "core.hooksPath", str(tmp_path / "elsewhere"), cwd=repos.bare)
    cli("hook", "install", repos.bare, "--project", "p").ok()
    assert (tmp_path / "elsewhere/post-receive").exists()


def test_named_options_are_in_the_hook(server, cli, repos, tmp_path):
    server.on("POST", "/api/v1/projects/it's/pushes", taken)
    server.on("POST", "/api/v1/projects/it%27s/pushes", taken)
    token = tmp_path / "to ken"
    token.write_text(standin.TOKEN)
    token.chmod(0o600)
    cli("--server", server.url, "--token-file", "to ken", "hook", "install", repos.bare, "--project", "it's").ok()
    text = (repos.bare / "hooks/post-receive").read_text()
    assert standin.TOKEN not in text and f"'{tmp_path}/to ken'" in text
    repos.commit()
    repos.env = {"PORTOLAN_SERVER": "", "PORTOLAN_TOKEN": ""}
    assert "starts run 12" in repos.push("main")


@pytest.mark.parametrize("case", ["away", "401", "404", "500", "no server", "no program"])
def test_a_push_never_fails(server, cli, repos, case):
    cli("hook", "install", repos.bare, "--project", "digits").ok()
    hook = repos.bare / "hooks/post-receive"
    if case == "away":
        repos.env = {"PORTOLAN_SERVER": "http://127.0.0.1:1"}
    elif case == "401":
        repos.env = {"PORTOLAN_TOKEN": "wrong"}
    elif case == "no server":
        repos.env = {"PORTOLAN_SERVER": "", "PORTOLAN_TOKEN": ""}
    elif case == "no program":
        hook.write_text(hook.read_text().replace(standin.CLI, "/nonexistent/portolan"))
    else:
        server.on("POST", "/api/v1/projects/digits/pushes", (int(case), problem("Trouble", "the reason")))
    repos.commit()
    said = repos.push("main")  # asserts git's exit code
    if case != "no program":
        assert "remote: portolan: warning: the push is complete; only no run was started" in said, said
    assert repos.git("rev-parse", "main", cwd=repos.bare) == repos.git("rev-parse", "HEAD")


def test_answers(server, cli):
    line = f"{'0' * 40} {'a' * 40} refs/heads/main\n"
    args = ("hook", "post-receive", "--project", "digits")
    server.on("POST", "/api/v1/projects/digits/pushes", (202, {"pushes": [{"ref": "refs/heads/main", "push_id": None, "run_id": None, "outcome": "this push was told before"}]}))
    assert cli(*args, input=line).ok().out == "portolan: main: this push was told before\n"
    server.on("POST", "/api/v1/projects/digits/pushes", (202, {"pushes": [{"ref": "refs/heads/main", "error": "the database is away"}]}))
    assert cli(*args, input=line).ok().out == "portolan: main: not taken: the database is away\n"
    assert "no 'old new ref' line" in cli(*args, input="nonsense\n" + line).ok().err
    count = len(server.asked)
    cli(*args, input="").ok()
    cli(*args, input="nonsense\n").ok()
    assert len(server.asked) == count
    assert "no project is named" in cli("hook", "post-receive", input=line).ok().err
    many = "".join(f"{'0' * 40} {i:040x} refs/heads/b{i}\n" for i in range(1, 1102))
    assert "101 more updates" in cli(*args, input=many).ok().err
    assert len(server.last().json["updates"]) == 1000
