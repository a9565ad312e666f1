"""A site for the web UI's tests and bench: the real daemon, its PostgreSQL, real agents, real runs of every sort. Writes what it made as one line of
JSON to stdout, then serves until its stdin closes.

    site.py [--big-log MIB]      beside the rest, one stage whose log has so many MiB
"""
from __future__ import annotations

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from portolan import Site  # noqa: E402

GREEN = """\
version: 1
model: harbour
export:
  run: ["sh export.sh"]
  outputs: [model/**]
targets:
  server: {host: server, verify: {run: ["sh verify.sh"]}}
  other:
    host: server
    convert: {run: ["sh convert.sh"], outputs: [model/**]}
    verify: {run: ["sh verify.sh"]}
"""
GATED = """\
version: 1
model: gated
export: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model && echo weights > $PORTOLAN_OUTPUTS/model/m.bin; echo exported"], outputs: [model/**]}
targets:
  server: {host: server, verify: {run: ["sh verify.sh"], when: manual}}
"""
EXPORT = """\
mkdir -p "$PORTOLAN_OUTPUTS/model"
printf '\\033[1mExporting\\033[0m the model\\n'
i=0; while [ $i -lt 400 ]; do i=$((i+1)); printf 'step %d: loss \\033[32m0.%03d\\033[0m\\n' $i $((999 - i)); done
printf 'progress 10%%\\rprogress 60%%\\rprogress 100%%\\n'
echo '<script>alert(1)</script> & "quotes"'
head -c 20000 /dev/zero > "$PORTOLAN_OUTPUTS/model/model.bin"
"""
CONVERT_RED = """\
echo 'loading the saved model'
i=0; while [ $i -lt 120 ]; do i=$((i+1)); echo "node $i: folded"; done
echo 'WARNING: some ops are not supported by the native TFLite runtime'
echo "error: 'tf.GridSample' op is neither a custom op nor a flex op" >&2
echo 'error: failed while converting: main' >&2
echo 'Some ops are not supported by the native TFLite runtime, you can enable TF kernels fallback using TF Select.'
echo 'TF Select ops: GridSample'
exit 1
"""


OUTPUTS = [
    {"name": "probabilities", "dtype": "float32", "shape": [64, 10], "max_abs_error": 3.1e-6, "max_rel_error": 2.2e-4, "mean_abs_error": 2.4e-7, "rmse": 4.1e-7, "cosine": 0.99999998,
     "top1_agreement": 1.0, "mismatched": 0, "elements": 640, "nan": 0, "inf": 0, "worst": {"index": [12, 7], "expected": 0.41873, "got": 0.418733, "limit": 1.1e-5}, "verdict": "green", "reasons": []},
    {"name": "embedding", "dtype": "float32", "shape": [64, 128], "max_abs_error": 8.9e-6, "max_rel_error": 1.4e-3, "mean_abs_error": 9.0e-7, "rmse": 1.3e-6, "cosine": 0.9999994,
     "top1_agreement": None, "mismatched": 0, "elements": 8192, "nan": 0, "inf": 0, "worst": {"index": [3, 99], "expected": -1.20031, "got": -1.20032, "limit": 2.2e-5}, "verdict": "green", "reasons": []},
]


def verify(latency: float = 4.2, red: bool = False) -> str:
    """A script that leaves the report that the agent's own comparison would: bare commands bring their own."""
    import copy
    outputs = copy.deepcopy(OUTPUTS)
    reasons = []
    if red:
        outputs[0].update(max_abs_error=0.31, mean_abs_error=0.09, rmse=0.12, cosine=0.71, top1_agreement=0.125, mismatched=611, verdict="red",
                          worst={"index": [0, 3], "expected": 0.93, "got": 0.62, "limit": 2e-5}, reasons=[{"code": "top1_agreement", "text": "top-1 agreement 0.125 is below 0.99"}])
        reasons = [{"code": "outside_tolerance", "output": "probabilities", "text": "611 of 640 elements are outside |got-ref| <= 1e-05 + 0.0001*|ref|; the worst is 0.31 off"},
                   {"code": "looks_like_normalisation", "output": "probabilities", "text": "the inputs of this host look as if they were scaled once more by 1/255"}]
    report = {"version": 1, "verdict": "red" if red else "green", "rule": "|got-ref| <= atol + rtol*|ref|", "precision": "float32", "atol": 1e-5, "rtol": 1e-4, "samples": 64, "matched_by": "name",
              "outputs": outputs, "reasons": reasons, "notes": [], "metrics": {"load_ms": 181.0, "first_ms": 22.5, "latency_p50_ms": latency * .8, "latency_p95_ms": latency, "peak_memory_bytes": 48 << 20, "artifact_bytes": 20000},
              "budgets": [{"name": "latency_p95", "limit": 20.0, "measured": latency, "verdict": "green", "gate": True, "unit": "ms"}],
              "against_last_good": [{"name": "latency_p95_ms", "before": 4.2, "now": latency, "change_pct": 100 * (latency - 4.2) / 4.2}]}
    return f"echo 'comparing 2 outputs of 64 samples'\ncat > \"$PORTOLAN_REPORT\" <<'END'\n{json.dumps(report)}\nEND\necho 'verdict {report['verdict']}'\n"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--big-log", type=int, default=0)
    o = options.parse_args()
    site = Site(**{"log-max": f"{max(o.big_log + 10, 64)}MiB"} if o.big_log else {})
    try:
        site.start_daemon()
        site.start_agent("harbour-1", slots="4")
        made: dict = {"url": site.url, "token": site.token, "dir": str(site.dir), "runs": {}}

        convert_green = "mkdir -p $PORTOLAN_OUTPUTS/model; cp -r $PORTOLAN_INPUTS/model/* $PORTOLAN_OUTPUTS/model/ 2>/dev/null; echo converted\n"
        work = site.project("harbour", GREEN, {"export.sh": EXPORT, "convert.sh": convert_green, "verify.sh": verify()})
        first = site.run("harbour")
        site.until(first, "green")
        made["runs"]["green"] = first
        for i, latency in enumerate((4.4, 4.1, 5.0)):
            (work / "verify.sh").write_text(verify(latency))
            site.commit(work, ["Warm up before measuring", "Fold batch norm before export", "Export with a dynamic batch axis"][i])
            site.git(work, "push", "-q", "origin", "main")
            site.until(site.run("harbour"), "green")
        (work / "verify.sh").write_text(verify(5.1, red=True))
        site.commit(work, "Scale the inputs inside the model")
        site.git(work, "push", "-q", "origin", "main")
        parity = site.run("harbour")
        site.until(parity, "red")
        made["runs"]["parity"] = parity
        (work / "verify.sh").write_text(verify(4.3))
        (work / "convert.sh").write_text(CONVERT_RED)
        site.commit(work, "Use grid sampling for the spatial transformer")
        site.git(work, "push", "-q", "origin", "main")
        red = site.run("harbour")
        site.until(red, "red")
        made["runs"]["red"] = red

        site.project("gated", GATED, {"verify.sh": verify()})
        gated = site.run("gated")
        site.until_stage(gated, "verify/server", "gated")
        made["runs"]["gated"] = gated

        site.project("slow", 'version: 1\nmodel: slow\nexport: {run: ["mkdir -p $PORTOLAN_OUTPUTS/model; : > $PORTOLAN_OUTPUTS/model/m; for i in $(seq 1 14); do echo tick $i; sleep 0.3; done"], outputs: [model/**]}\n'
                     'targets: {server: {host: server, verify: {run: ["sh verify.sh"]}}}\n', {"verify.sh": verify()})
        site.project("broken", "version: 1\nmodell: x\n")
        invalid = site.run("broken")
        site.until(invalid, "invalid")
        made["runs"]["invalid"] = invalid

        if o.big_log:
            line = "0123456789abcdef" * 5
            script = f"mkdir -p $PORTOLAN_OUTPUTS/model; : > $PORTOLAN_OUTPUTS/model/m; yes '{line}' | head -c {o.big_log * 1048576} | cat -n; echo; echo THE LAST LINE\n"
            site.project("big", 'version: 1\nmodel: big\nexport: {run: ["sh big.sh"], outputs: [model/**]}\ntargets: {server: {host: server, verify: {run: ["sh verify.sh"]}}}\n', {"big.sh": script, "verify.sh": verify()})
            big = site.run("big")
            site.until(big, "green", timeout=400)
            made["runs"]["big"] = big
        print(json.dumps(made), flush=True)
        sys.stdin.read()
    finally:
        site.close()


main()
