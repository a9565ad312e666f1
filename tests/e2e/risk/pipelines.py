"""Small pipelines of bare commands: a stage fails when the file that its command looks at says so."""

TWO = """
version: 1
model: toy
export:
  run: ["sh export.sh"]
targets:
  web:
    host: server
    verify: {run: ["sh check.sh", "echo '{\\"verdict\\":\\"green\\"}' > $PORTOLAN_REPORT"]}
"""
EXPORT = "mkdir -p $PORTOLAN_OUTPUTS/model && cp weights.txt $PORTOLAN_OUTPUTS/model/weights.txt\n"
FILES = {"export.sh": EXPORT, "check.sh": "grep -q hello $PORTOLAN_INPUTS/model/weights.txt\n", "weights.txt": "hello\n"}
BROKEN = "echo \"ValueError: Didn't find op for builtin opcode 'CONV_2D' version '5'. An older version of this builtin might be supported.\" >&2; exit 1\n"
