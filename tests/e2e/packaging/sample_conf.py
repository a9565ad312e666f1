"""Sample configuration from a program's own table of settings, as its help prints it:

    python3 tests/e2e/packaging/sample_conf.py portoland BUILD/daemon/portoland --help >deploy/portoland.conf
    python3 tests/e2e/packaging/sample_conf.py portolan-agent BUILD/agents/portolan-agent help >deploy/portolan-agent.conf

The test beside it holds the shipped files to this.
"""
from __future__ import annotations

import re
import subprocess
import sys
import textwrap

HEAD = {
    "portoland": "portoland.conf - settings of Portolan's daemon, each with its default. `portoland --help` lists them too.",
    "portolan-agent": "portolan-agent.conf - settings of Portolan's agents, each with its default. `portolan-agent help` lists them too.",
}
RULES = 'Lines are "name = value"; "#" begins a comment. What stands here is overruled by the environment (PORTOLAN_NAME), and that by the command line (--name value). Durations: 30s, 5m, 1h. Sizes: 64MiB, 20GiB.'


def settings(help_text: str) -> list[tuple[str, str, str]]:
    """(name, help, default or "") in the table's order."""
    out = []
    for line in help_text.splitlines():
        found = re.match(r"  --([a-z0-9-]+)\s+(.*?)(?: \[([^\]]*)\])?$", line)
        if found:
            out.append((found[1], found[2], found[3] or ""))
    return out


def render(program: str, help_text: str) -> str:
    lines = textwrap.wrap(HEAD[program], 118) + textwrap.wrap(RULES, 118)
    out = [f"# {line}" for line in lines]
    for name, text, default in settings(help_text):
        out.append("")
        out += [f"# {line}" for line in textwrap.wrap(text, 118)]
        out.append(f"#{name} = {default}".rstrip())
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render(sys.argv[1], subprocess.run(sys.argv[2:], capture_output=True, text=True, check=True).stdout))
