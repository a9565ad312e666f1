#!/usr/bin/env python3
"""tests/bench/history/bench.py - what the past costs at a million failures: searches, facets, similar ones and trends through the daemon's own prepared
statements and through its HTTP API, the size of the indexes, and what a failure more costs; beside what pgbench gets for a plain look-up by key from the
same PostgreSQL in the same run. Gates nothing; loopback only.

    bench.py [--rows N] [--logs N] [--dsn DSN] [--build DIR] [--seconds N]

Without --dsn a daemon makes its private PostgreSQL in a temporary directory and the corpus is loaded into it (a million rows: some ten minutes, 3 GB).
With --dsn the database is used as it is when it holds a corpus, else the corpus is loaded first: it is the bench's own, and an admin token that a bench
before this one had made is revoked. Every figure comes as wall time and as processor time (of the server's processes of this database, over HTTP also of
the daemon's loop), with the load average while it was taken: wall high and processor time low is a busy machine, both high is a slow query. Processor time
grows on a busy machine too, for caches that others fill: an unchanged statement took half as much again at a load of 18 as at one of 10, on two processors.
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
            "sort=cost", "sort=cost&challenge=browser", "sort=cost&q={word}", "q={word}+{word2}&sort=similarity", "in=log&q={log}", "in=log&q={log}&platform=mobile"]
OPS = "GridSample DeformConv2d NonMaxSuppression Einsum ScatterND CTCGreedyDecoder ComplexAbs RFFT2D".split()
WORDS = "tensor layer dimension runtime converter version kernel gradient signature delegate buffer allocate checkpoint import module request port certificate model shard memory".split()


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def searches(rng: random.Random, projects: int, n: int) -> list[str]:
    from corpus import VOCABULARY, log_word
    out = []
    for i in range(n):
        out.append(SEARCHES[i % len(SEARCHES)].format(project=f"p{rng.randrange(1, projects + 1):03d}", operator=rng.choice(OPS), author=rng.choice(["ada", "heidi", "walter"]) + "@example.org", n=rng.randrange(400),
                                                     agent=f"agent-{rng.choice(['server', 'mobile', 'browser'])}-{rng.randrange(12)}", word=rng.choice(WORDS), word2=rng.choice(WORDS),
                                                     log=log_word(min(VOCABULARY - 1, int(rng.paretovariate(0.3))))))
    return out


def quantiles(ms: list[float]) -> tuple[float, float, float]:
    ms = sorted(ms)
    return ms[len(ms) // 2], ms[min(len(ms) - 1, len(ms) * 99 // 100)], ms[-1]


def load() -> float:
    return os.getloadavg()[0]


class Processor:
    """Processor time so far of the server's processes of a database and of the daemon's loop, in ms; 0 where this machine does not tell."""

    def __init__(self, database: str, daemon: int):
        self.paths = [f"/proc/{daemon}/task/{daemon}/schedstat"]
        for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = p.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if line.startswith("postgres: ") and f" {database} [local]" in line:
                self.paths.append(str(p.with_name("schedstat")))

    def ms(self) -> float:
        total = 0
        for path in self.paths:
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
        return total / 1e6


def over_http(url: str, token: str, paths: list[str], processor: Processor) -> list[tuple[float, float, str]]:
    where = urlsplit(url)
    c = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    took = []
    for path in paths:
        before, began = processor.ms(), time.perf_counter()
        c.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = c.getresponse()
        body = answer.read()
        ms = (time.perf_counter() - began) * 1e3
        took.append((ms, processor.ms() - before, path))
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


def ingest(corpus, bench: pathlib.Path, dsn: str, database: str, db, rows: int, rng: random.Random) -> dict[str, float]:
    """A diagnosis is stored for failures that are there, with and without what this history adds to it."""
    diagnosis = json.dumps({"version": 2, "state": "diagnosed", "summary": "this runtime has no version 5 of the builtin operator CONV_2D", "fingerprint": "00000000deadbeef", "template": "no version <n> of the builtin operator <q>", "bands": list(range(16)),
                            "challenges": [{"id": "mobile/dl-integration-into-projects/avoiding-version-incompatibility", "probability": 0.9}], "platform": "mobile",
                            "evidence": [{"text": f"ERROR: Didn't find op for builtin opcode 'CONV_2D' version '5' in node {i}", "line": i, "names": {"op": "CONV_2D"}} for i in range(6)]})
    took, ids = {}, rng.sample(range(1, rows), 300)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
        f.write("".join(f"words\tlog_words_store\ti:{i}\ts:{' '.join(corpus.log_word(rng.randrange(corpus.VOCABULARY)) for _ in range(400))}\ti:400\tb:0\n" for i in ids))
        f.flush()
        took["words"] = float(subprocess.run([bench, dsn, f.name, "1", database], capture_output=True, text=True, check=True).stdout.split("\t")[5])
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
    p.add_argument("--logs", type=int, default=200_000, help="the newest failures that words of whole logs are made for")
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
        if o.dsn:
            corpus.Psql(o.dsn).run("DO $$ BEGIN IF to_regclass('token') IS NOT NULL THEN UPDATE token SET revoked_at = now() WHERE created_by = 'bootstrap' AND revoked_at IS NULL; END IF; END $$")
        daemon = site.start_daemon(**({"database": o.dsn} if o.dsn else {}), **{"database-connections": "4"})
        dsn = o.dsn or f"host={next(x.parent for x in (site.dir / 'state' / 'postgres').rglob('.s.PGSQL.*') if x.suffix != '.lock')} user=portolan dbname=portolan"
        db = corpus.Psql(dsn)
        database = db.run("SELECT current_database()").strip()
        if int(db.run("SELECT count(*) FROM project").strip()) == 0:
            began = time.monotonic()
            corpus.load(dsn, o.rows, say=say)
            corpus.words_of_people(dsn, say=say)
            if o.logs:
                corpus.logs(dsn, o.logs, say=say)
            say(f"loaded in {time.monotonic() - began:.0f} s")
        logs = int(db.run("SELECT count(*) FROM failure_log").strip())
        rows = int(db.run("SELECT max(attempt_id) FROM failure").strip())
        projects = int(db.run("SELECT count(*) FROM project").strip())
        peer = pgbench(dsn, rows, o.seconds)
        table = [("a failure by its key, pgbench -M prepared", "", peer, None, load())]
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
            lines.append(f"search by terms\tfailure_find\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51")
            lines.append(f"facets by terms\tfailure_facets_find\ts:{f}\tn\tn\tn\ti:2001\ti:100")
        for spec in ({"tool": "tensorflow", "from": "2.15", "to": "2.18", "to_open": True}, {"tool": "onnxruntime", "prefix": "1.20"}, {"tool": "tensorflow", "prefix": "2.13"}):
            f = json.dumps({"tool": spec["tool"], "version": spec})
            for _ in range(10):
                lines.append(f"search by version\tfailure_find\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51")
                lines.append(f"facets by version\tfailure_facets_find\ts:{f}\tn\tn\tn\ti:2001\ti:100")
        for _ in range(40):
            f = json.dumps({"words": f"{rng.choice(WORDS)} {rng.choice(WORDS)}"})
            lines.append(f"search by cost, window\tfailure_costly\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51\ti:3000")
            lines.append(f"search by cost, terms\tfailure_band_costly\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51\ti:20000")
            lines.append(f"search by likeness, window\tfailure_rank\ts:{f}\tn\tn\tn\ti:51\ti:3000\ti:1000\tn\ti:0\tn")
            lines.append(f"search by likeness, terms\tfailure_rank\ts:{f}\tn\tn\tn\ti:51\tn\ti:1000\tn\ti:0\tn")
        for _ in range(40 if logs else 0):   # as routes_failures.c asks: what is frequent is found in the window, only what is rarer is asked of the index
            f = json.dumps({"in": "log", "words": corpus.log_word(rng.randrange(20))})
            lines.append(f"search in logs, frequent\tfailure_log_recent\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51\ti:300")
            for label, low, high in (("seldom", 300, 2000), ("rare", 20000, corpus.VOCABULARY)):
                f = json.dumps({"in": "log", "words": corpus.log_word(rng.randrange(low, high))})
                lines.append(f"search in logs, {label}\tfailure_log_find\ts:{f}\tn\tn\tn\tn\ti:{2**62}\ti:51")
                lines.append(f"facets in logs, {label}\tfailure_log_facets\ts:{f}\tn\tn\tn\ti:2001\ti:100")
        for line in db.run("SELECT attempt_id, fingerprint, COALESCE(template, ''), array_to_json(indicators) FROM feedback_word ORDER BY md5(attempt_id::text) LIMIT 100").splitlines():
            attempt, fingerprint, rest = line.split("|", 2)
            template, indicators = rest.rsplit("|", 1)
            lines.append(f"people's words, of a diagnosis\tfeedback_like\ti:{attempt}\ts:{fingerprint}\ts:{template}\ts:{indicators}")
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
        busy = load()
        for line in sorted(done.stdout.splitlines()):
            label, n, p50, p99, longest, cpu50, cpu99 = line.split("\t")
            table.append((label, "statement", (float(p50), float(p99), float(longest), float(cpu50), float(cpu99)), TARGETS.get(label.split(",")[0].split("/")[0].split(" ")[0]), busy))
        # HTTP
        asked = searches(rng, projects, o.searches)
        for label, paths in (("search", [f"/api/v1/failures?{s}" for s in asked]),
                             ("facets", [f"/api/v1/failures/facets?{'&'.join(x for x in s.split('&') if not x.startswith('sort='))}" for s in asked]),
                             ("similar", [f"/api/v1/attempts/{rng.randrange(1, rows + 1)}/similar" for _ in range(o.searches)]),
                             ("trends", [f"/api/v1/trends?since={s}&interval={i}&by={b}" for s, i in (("90d", "day"), ("360d", "week"), ("2024-12-01", "month")) for b in ("challenge", "category") for _ in range(10)])):
            processor = Processor(database, daemon.pid)
            over_http(site.url, site.token, paths[:32], processor)
            took = over_http(site.url, site.token, paths, processor)
            table.append((label, "HTTP", quantiles([t for t, _, _ in took]) + quantiles([c for _, c, _ in took])[:2], TARGETS.get(label), load()))
            for ms, cpu, path in sorted(took, key=lambda t: -t[1])[:3]:
                say(f"dearest {label}: {cpu:.1f} ms of processor time, {ms:.1f} ms: {path}")
        cost = ingest(corpus, bench, dsn, database, db, rows, rng)
        print(f"\n{rows} failures, {logs} with the words of their logs, {db.run('SELECT count(*) FROM failure_template').strip()} templates, {db.run('SELECT count(*) FROM failure_class').strip()} classes, {projects} projects")
        print(f"{'what':<44} {'through':<9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CPU p50':>8} {'CPU p99':>8} {'target':>7} {'load':>5}  times the look-up's p50")
        for what, through, times, target, busy in table:
            p50, p99, longest = times[:3]
            cpu = f"{times[3]:8.2f} {times[4]:8.2f}" if len(times) > 3 else " " * 17
            mark = "" if target is None else "met" if p99 <= target else "met in processor time only" if len(times) > 3 and 0 < times[4] <= target else "MISSED"
            print(f"{what:<44} {through:<9} {p50:8.2f} {p99:8.2f} {longest:8.2f} {cpu} {target or '':>7} {busy:5.1f}  {p50 / peer[0]:8.1f} {mark}")
        print(f"a diagnosis stored: {cost['without']:.2f} ms without the history, {cost['with']:.2f} ms with it: {cost['with'] - cost['without']:.2f} ms of the server's processor a failure; the words of its log (400 of them) {cost['words']:.2f} ms (medians)")
        print("sizes:")
        print(db.run("SELECT '  ' || rpad(relname, 44) || lpad(pg_size_pretty(pg_relation_size(oid)), 10) FROM pg_class WHERE (relname LIKE 'failure%' OR relname LIKE 'toolchain_pair%') AND pg_relation_size(oid) > 1000000 ORDER BY pg_relation_size(oid) DESC"), end="")
        print(db.run("SELECT '  all of it' || lpad(pg_size_pretty(sum(pg_total_relation_size(oid))), 45) FROM pg_class WHERE relkind = 'r' AND (relname LIKE 'failure%' OR relname LIKE 'toolchain_%')"), end="")
    finally:
        site.close()


if __name__ == "__main__":
    main()
