#!/usr/bin/env python3
"""tests/bench/history/bench.py - what the past costs at a million failures: searches, facets, similar ones and trends through the daemon's own prepared
statements and through its HTTP API, the size of the indexes, and what a failure more costs; beside what pgbench gets for a plain look-up by key from the
same PostgreSQL in the same run. Gates nothing; loopback only.

    bench.py [--rows N] [--dsn DSN] [--build DIR] [--seconds N]

Without --dsn a daemon makes its private PostgreSQL in a temporary directory and the corpus is loaded into it (a million rows: some ten minutes, 3 GB).
With --dsn the database is used as it is when it holds a corpus, else the corpus is loaded first. Figures of a busy machine are high; the look-up beside them tells how much.
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote, urlsplit

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "tests" / "support"), str(pathlib.Path(__file__).resolve().parent)]
sys.dont_write_bytecode = True
TARGETS = {"similar": 10, "search": 50, "facets": 50, "trends": 200}

SEARCHES = ["", "q=unsupported+operator", "q=error", "q=shape+mismatch&platform=mobile", "q=%22not+supported%22", "q=quantization+-int8", "q=memory&kind=convert", "challenge=mobile", "challenge=server/environment", "challenge=none&platform=browser",
            "platform=mobile&kind=convert", "project={project}", "project={project}&kind=export", "project={project}&q=failed", "tool=tensorflow&version=%3E%3D2.15%2C%3C2.18", "tool=onnxruntime&version=1.20", "operator={operator}", "operator={operator}&platform=mobile",
            "author={author}", "branch=feature/{n}", "agent={agent}", "agent={agent}&platform=browser", "since=2026-06-01&until=2026-07-01&platform=server", "resolved=false&challenge=mobile", "resolved=true&q=version", "q={word}", "q={word}&project={project}", "platform=mobile&kind=export",
            "sort=cost", "sort=cost&challenge=browser", "sort=cost&q={word}", "q={word}+{word2}&sort=similarity"]
OPS = "GridSample DeformConv2d NonMaxSuppression Einsum ScatterND CTCGreedyDecoder ComplexAbs RFFT2D".split()
WORDS = "tensor layer dimension runtime converter version kernel gradient signature delegate buffer allocate checkpoint import module request port certificate model shard memory".split()


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def searches(rng: random.Random, projects: int, n: int) -> list[str]:
    out = []
    for i in range(n):
        out.append(SEARCHES[i % len(SEARCHES)].format(project=f"p{rng.randrange(1, projects + 1):03d}", operator=rng.choice(OPS), author=rng.choice(["ada", "heidi", "walter"]) + "@example.org", n=rng.randrange(400),
                                                     agent=f"agent-{rng.choice(['server', 'mobile', 'browser'])}-{rng.randrange(12)}", word=rng.choice(WORDS), word2=rng.choice(WORDS)))
    return out


def quantiles(ms: list[float]) -> tuple[float, float, float]:
    ms = sorted(ms)
    return ms[len(ms) // 2], ms[min(len(ms) - 1, len(ms) * 99 // 100)], ms[-1]


def over_http(url: str, token: str, paths: list[str]) -> list[tuple[float, str]]:
    where = urlsplit(url)
    c = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    took = []
    for path in paths:
        began = time.perf_counter()
        c.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = c.getresponse()
        body = answer.read()
        took.append(((time.perf_counter() - began) * 1e3, path))
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    c.close()
    return took


def pgbench(dsn: str, rows: int, seconds: int) -> tuple[float, float, float]:
    return pgbench_of(dsn, f"\\set id random(1, {rows})\nSELECT attempt_id, key_line, challenge_id FROM failure WHERE attempt_id = :id;\n", seconds)


def pgbench_of(dsn: str, text: str, seconds: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as d:
        script = pathlib.Path(d, "lookup.sql")
        script.write_text(text)
        subprocess.run(["pgbench", "-n", "-M", "prepared", "-c", "1", "-T", str(seconds), "-f", str(script), "-l", "--log-prefix", str(pathlib.Path(d, "log")), dsn], check=True, capture_output=True)
        ms = [float(line.split()[2]) / 1e3 for f in pathlib.Path(d).glob("log*") for line in f.read_text().splitlines()]
    return quantiles(ms)


def ingest(bench: pathlib.Path, dsn: str, database: str, db, rows: int, rng: random.Random) -> dict[str, float]:
    """A diagnosis is stored for failures that are there, with and without what this history adds to it."""
    diagnosis = json.dumps({"version": 2, "state": "diagnosed", "summary": "this runtime has no version 5 of the builtin operator CONV_2D", "fingerprint": "00000000deadbeef", "template": "no version <n> of the builtin operator <q>", "bands": list(range(16)),
                            "challenges": [{"id": "mobile/dl-integration-into-projects/avoiding-version-incompatibility", "probability": 0.9}], "platform": "mobile",
                            "evidence": [{"text": f"ERROR: Didn't find op for builtin opcode 'CONV_2D' version '5' in node {i}", "line": i, "names": {"op": "CONV_2D"}} for i in range(6)]})
    took, ids = {}, rng.sample(range(1, rows), 300)
    for label, switch in (("without", "DISABLE"), ("with", "ENABLE")):
        db.run(f"ALTER TABLE attempt {switch} TRIGGER attempt_failure")
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
            # two answers in turn, so that each one stored is another than the one there
            f.write("".join(f"ingest\tdiagnosis_store\ti:{i}\ts:{diagnosis.replace('version 5', v)}\ts:done\n" for i in ids for v in ("version 5", "version 6")))
            f.flush()
            done = subprocess.run([bench, dsn, f.name, "1", database], capture_output=True, text=True, check=True)
        took[label] = float(done.stdout.split("\t")[5])
    return took


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--rows", type=int, default=1_000_000)
    p.add_argument("--dsn")
    p.add_argument("--build", default=str(TOP / "build" / "release"))
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--searches", type=int, default=640)
    o = p.parse_args()
    os.environ["PTL_BUILD"] = o.build
    if not pathlib.Path(o.build, "build.ninja").exists():
        subprocess.run(["cmake", "-S", TOP, "-B", o.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", o.build, "--target", "portoland", "history_bench"], check=True, stdout=subprocess.DEVNULL)
    from portolan import Site
    import corpus
    site, rng = Site(), random.Random(11)
    bench = next(pathlib.Path(o.build).rglob("history_bench"))
    try:
        site.start_daemon(**({"database": o.dsn} if o.dsn else {}), **{"database-connections": "4"})
        dsn = o.dsn or f"host={next(x.parent for x in (site.dir / 'state' / 'postgres').rglob('.s.PGSQL.*') if x.suffix != '.lock')} user=portolan dbname=portolan"
        db = corpus.Psql(dsn)
        database = db.run("SELECT current_database()").strip()
        if not site.token:
            raise SystemExit("the database has an admin already whose token is not known here")
        if int(db.run("SELECT count(*) FROM project").strip()) == 0:
            began = time.monotonic()
            corpus.load(dsn, o.rows, say=say)
            say(f"loaded in {time.monotonic() - began:.0f} s")
        rows = int(db.run("SELECT max(attempt_id) FROM failure").strip())
        projects = int(db.run("SELECT count(*) FROM project").strip())
        peer = pgbench(dsn, rows, o.seconds)
        table = [("a failure by its key, pgbench -M prepared", "", peer, None)]
        # statements
        lines = []
        for i in range(300):
            attempt = rng.randrange(1, rows + 1)
            lines.append(f"similar\tfailure_similar\ti:{attempt}\tn\ti:20")
            lines.append(f"similar, confined to a project\tfailure_similar\ti:{attempt}\ts:p{rng.randrange(1, projects + 1):03d}\ti:20")
            lines.append(f"resolutions of an attempt\tresolution_of\ti:{attempt}\tn\ti:20")
        for f in ({}, {"challenge": "mobile"}, {"platform": "mobile", "kind": "convert"}, {"project": "p001"}, {"challenge": "server/environment"}):
            for _ in range(8):
                lines.append(f"facets by classes\tfailure_facets\ts:{json.dumps(f)}\tn\ti:100")
        for i in range(240):
            f = json.dumps([{"words": rng.choice(WORDS)}, {"words": rng.choice(WORDS), "project": f"p{rng.randrange(1, projects + 1):03d}"}, {"operator": rng.choice(OPS)}, {"platform": "mobile", "kind": "convert"}, {"project": f"p{rng.randrange(1, projects + 1):03d}"},
                            {"agent": f"agent-mobile-{rng.randrange(12)}", "platform": "browser"}, {"exact": ["not supported"]}, {"challenge": "mobile/model-conversion", "words": rng.choice(WORDS)}][i % 8])
            lines.append(f"search, the newest\tfailure_recent\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51\ti:3000")
            lines.append(f"facets by the newest\tfailure_facets_recent\ts:{f}\tn\tn\tn\ti:3000\ti:100")
            if i % 8 in (3, 6):
                continue  # frequent: found among the newest, never asked of the index
            lines.append(f"search, three months by terms\tfailure_find\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51\ti:3")
            lines.append(f"facets by terms\tfailure_facets_find\ts:{f}\tn\tn\tn\ti:5001\ti:100")
        for since, interval in (("2026-08-25", "day"), ("2025-11-01", "week"), ("2024-11-01", "month")):
            for by in "01":
                for project in ("n", "s:p001"):
                    for _ in range(4):
                        lines.append(f"trends\ttrend\t{project}\tb:{by}\ts:{interval}\ts:{since}\tn")
        for _ in range(10):
            lines.append("trends/operators\ttrend_operators\tn\tn\ti:50")
            lines.append("trends/toolchains\ttrend_toolchains\tn\ti:50")
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
            rng.shuffle(lines)
            f.write("\n".join(lines) + "\n")
            f.flush()
            done = subprocess.run([bench, dsn, f.name, "2", database], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        for line in sorted(done.stdout.splitlines()):
            label, n, p50, p99, longest, cpu50, cpu99 = line.split("\t")
            table.append((label, "statement", (float(p50), float(p99), float(longest), float(cpu50), float(cpu99)), TARGETS.get(label.split(",")[0].split("/")[0].split(" ")[0])))
        # HTTP
        asked = searches(rng, projects, o.searches)
        for label, paths in (("search", [f"/api/v1/failures?{s}" for s in asked]),
                             ("facets", [f"/api/v1/failures/facets?{'&'.join(x for x in s.split('&') if not x.startswith('sort='))}" for s in asked]),
                             ("similar", [f"/api/v1/attempts/{rng.randrange(1, rows + 1)}/similar" for _ in range(o.searches)]),
                             ("trends", [f"/api/v1/trends?since={s}&interval={i}&by={b}" for s, i in (("90d", "day"), ("360d", "week"), ("2024-12-01", "month")) for b in ("challenge", "category") for _ in range(10)])):
            over_http(site.url, site.token, paths[:32])
            took = over_http(site.url, site.token, paths)
            table.append((label, "HTTP", quantiles([t for t, _ in took]), TARGETS.get(label)))
            for t, path in sorted(took, reverse=True)[:3]:
                say(f"slowest {label}: {t:.1f} ms {path}")
        cost = ingest(bench, dsn, database, db, rows, rng)
        print(f"\n{rows} failures, {db.run('SELECT count(*) FROM failure_template').strip()} templates, {db.run('SELECT count(*) FROM failure_class').strip()} classes, {projects} projects")
        print(f"{'what':<44} {'through':<9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CPU p50':>8} {'CPU p99':>8} {'target':>7}  times the look-up's p50")
        for what, through, times, target in table:
            p50, p99, longest = times[:3]
            cpu = f"{times[3]:8.2f} {times[4]:8.2f}" if len(times) > 3 else " " * 17
            mark = "" if target is None else "met" if p99 <= target else "met on a quiet machine at best" if len(times) > 3 and times[4] <= target else "MISSED"
            print(f"{what:<44} {through:<9} {p50:8.2f} {p99:8.2f} {longest:8.2f} {cpu} {target or '':>7}  {p50 / peer[0]:8.1f} {mark}")
        print(f"a diagnosis stored: {cost['without']:.2f} ms without the history, {cost['with']:.2f} ms with it: {cost['with'] - cost['without']:.2f} ms of the server's processor a failure (medians)")
        print("sizes:")
        print(db.run("SELECT '  ' || rpad(relname, 44) || lpad(pg_size_pretty(pg_relation_size(oid)), 10) FROM pg_class WHERE (relname LIKE 'failure%' OR relname LIKE 'toolchain_pair%') AND pg_relation_size(oid) > 1000000 ORDER BY pg_relation_size(oid) DESC"), end="")
        print(db.run("SELECT '  all of it' || lpad(pg_size_pretty(sum(pg_total_relation_size(oid))), 45) FROM pg_class WHERE relkind = 'r' AND (relname LIKE 'failure%' OR relname LIKE 'toolchain_%')"), end="")
    finally:
        site.close()


if __name__ == "__main__":
    main()
