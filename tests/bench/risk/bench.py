#!/usr/bin/env python3
"""tests/bench/risk/bench.py - what the board costs at three thousand open stages, through the daemon's own statement and through its HTTP API, beside what
pgbench gets for a plain look-up by key from the same PostgreSQL in the same run. Gates nothing; loopback only.

    bench.py [--open N] [--past N] [--build DIR] [--rounds N] [--times N] [--plan]

A daemon makes its private PostgreSQL in a temporary directory; what is in it is drawn from a fixed seed. Figures of a busy machine are high; the look-up and
the server's processor time beside them tell how much. --plan prints how PostgreSQL goes about the first page.
"""
from __future__ import annotations

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "tests" / "support"), str(TOP / "tests" / "bench" / "history")]
sys.dont_write_bytecode = True
TARGET_MS = 200

# Sixty projects, forty people, failures of every challenge as unequal as in life, most of them resolved by a later run; then the stages that are open now.
CORPUS = """
SET synchronous_commit = off;
SELECT setseed(0.42);
ALTER TABLE attempt DISABLE TRIGGER USER; ALTER TABLE stage DISABLE TRIGGER USER; ALTER TABLE run DISABLE TRIGGER USER; ALTER TABLE assignment_event DISABLE TRIGGER USER;
INSERT INTO project (name, url) SELECT 'p' || to_char(i, 'FM000'), 'https://git.example.org/p' || i FROM generate_series(1, 60) i;
INSERT INTO person (name, display_name, created_by, suggestions) SELECT 'person-' || i, 'Person ' || i, 'bench', i % 10 <> 0 FROM generate_series(1, 40) i;
CREATE UNLOGGED TABLE leaf AS SELECT c.id, row_number() OVER (ORDER BY md5(c.id)) AS nth, CASE split_part(c.id, '/', 1) WHEN 'mobile' THEN 'mobile' WHEN 'browser' THEN 'browser' ELSE 'server' END AS platform
  FROM challenge c WHERE c.kind <> 'root' AND NOT EXISTS (SELECT 1 FROM challenge b WHERE b.parent = c.id);
CREATE UNLOGGED TABLE past AS
SELECT i AS id, 1 + floor(60 * random() * random())::int AS project_id, (SELECT count(*) FROM leaf) AS leaves, floor(power(random(), 2) * (SELECT count(*) FROM leaf))::int + 1 AS nth,
       now() - (:past - i) * interval '7 minutes' AS at, random() < 0.72 AS fixed, 1 + floor(40 * random())::int AS who FROM generate_series(1, :past) i;
INSERT INTO run (id, project_id, number, ref, commit_sha, state, trigger, created_by, created_at) OVERRIDING SYSTEM VALUE
SELECT 2 * id + k, project_id, 2 * id + k, 'refs/heads/main', md5((2 * id + k)::text), CASE k WHEN 0 THEN 'red' ELSE 'green' END, 'hook', 'bench', at + k * interval '3 hours' FROM past, generate_series(0, 1) k WHERE k = 0 OR fixed;
INSERT INTO stage (id, run_id, position, name, kind, target, host, platform, uses, spec, state, timeout_ms, queue_timeout_ms, total_timeout_ms) OVERRIDING SYSTEM VALUE
SELECT 2 * p.id + k, 2 * p.id + k, 1, 'verify/' || l.platform, 'verify', l.platform, l.platform, l.platform, 'litert/run', '{}', CASE k WHEN 0 THEN 'red' ELSE 'green' END, 1, 1, 1
  FROM past p JOIN leaf l ON l.nth = p.nth, generate_series(0, 1) k WHERE k = 0 OR fixed;
INSERT INTO attempt (id, stage_id, fence, agent_name, ended_at, ok, end_reason, challenge_id, diagnosis_state, diagnosis) OVERRIDING SYSTEM VALUE
SELECT 2 * p.id + k, 2 * p.id + k, 1, 'agent', at, k = 1, 'exit', CASE k WHEN 0 THEN l.id END, 'done', CASE k WHEN 0 THEN jsonb_build_object('summary', 'it failed so', 'challenges', jsonb_build_array(jsonb_build_object('id', l.id, 'probability', 0.8))) END
  FROM past p JOIN leaf l ON l.nth = p.nth, generate_series(0, 1) k WHERE k = 0 OR fixed;
INSERT INTO run_author (run_id, person_id) SELECT 2 * id + 1, who FROM past WHERE fixed;
INSERT INTO risk_outcome (id, at, project_id, run_id, stage_id, attempt_id, ref, name, kind, target, platform, ok, bits, streak, fixed_by) OVERRIDING SYSTEM VALUE
SELECT 2 * p.id + k, at, project_id, 2 * p.id + k, 2 * p.id + k, 2 * p.id + k, 'refs/heads/main', 'verify/' || l.platform, 'verify', l.platform, l.platform, k = 1, 0, CASE WHEN k = 1 OR fixed THEN 2 * p.id END, CASE WHEN k = 0 AND fixed THEN 2 * p.id + 1 END
  FROM past p JOIN leaf l ON l.nth = p.nth, generate_series(0, 1) k WHERE k = 0 OR fixed;
INSERT INTO assignment (project_id, run_id, stage_id, attempt_id, ref, stage_name, person_id, state, challenge_id, created_by, ended_at)
SELECT project_id, 2 * p.id, 2 * p.id, 2 * p.id, 'refs/heads/main', 'verify', who, 'done', l.id, 'bench', at FROM past p JOIN leaf l ON l.nth = p.nth WHERE p.id % 20 = 0;
SELECT setval(pg_get_serial_sequence(t, 'id'), 2 * :past + 10) FROM unnest(ARRAY['run', 'stage', 'attempt', 'risk_outcome']) t;
-- what is open: runs of ten stages, a tenth of them red
CREATE UNLOGGED TABLE opened AS SELECT 2 * :past + 100 + i AS id, 2 * :past + 100 + i / 10 AS run_id, i % 10 AS n, (ARRAY['server', 'mobile', 'browser'])[1 + i % 3] AS platform,
       (ARRAY['running', 'waiting', 'waiting', 'queued', 'queued', 'gated', 'running', 'claimed', 'waiting', 'red'])[1 + i % 10] AS state, 1 + (i / 10) % 60 AS project_id, random() AS p, 1 + floor(60 * random()) AS hours FROM generate_series(0, :open - 1) i;
INSERT INTO run (id, project_id, number, ref, commit_sha, state, trigger, created_by) OVERRIDING SYSTEM VALUE SELECT DISTINCT run_id, project_id, run_id, 'refs/heads/r' || run_id, md5(run_id::text), 'running', 'hook', 'bench' FROM opened;
INSERT INTO run_author (run_id, person_id) SELECT DISTINCT run_id, 1 + run_id % 40 FROM opened;
INSERT INTO stage (id, run_id, position, name, kind, target, host, platform, uses, spec, state, timeout_ms, queue_timeout_ms, total_timeout_ms, risk_p, risk_hours, risk_cost, risk) OVERRIDING SYSTEM VALUE
SELECT o.id, o.run_id, o.n, 'verify/' || o.platform || o.n, 'verify', o.platform || o.n, o.platform, o.platform, 'litert/run', '{}', o.state, 1000000000000, 1000000000000, 1000000000000, o.p, o.hours, o.p * o.hours,
       jsonb_build_object('p', o.p, 'hours', o.hours, 'cost', o.p * o.hours, 'terms', (SELECT jsonb_agg(jsonb_build_object('name', 'term' || t, 'value', random(), 'why', repeat(md5(random()::text), 4))) FROM generate_series(1, 10) t),
                          'likely', (SELECT jsonb_agg(jsonb_build_object('challenge_id', l.id, 'title', l.id, 'p', 0.3)) FROM (SELECT id FROM leaf WHERE leaf.platform = o.platform ORDER BY md5(id || o.id) LIMIT 3) l)) FROM opened o;
INSERT INTO attempt (id, stage_id, fence, agent_name, ended_at, ok, end_reason, challenge_id, diagnosis_state, diagnosis) OVERRIDING SYSTEM VALUE
SELECT o.id, o.id, 1, 'agent', now(), false, 'exit', l.id, 'done', jsonb_build_object('summary', 'it failed so') FROM opened o JOIN leaf l ON l.nth = 1 + o.id % (SELECT count(*) FROM leaf) WHERE o.state = 'red';
UPDATE stage SET lease_until = now() + interval '1 day' WHERE state IN ('running', 'claimed');
INSERT INTO stage_need (stage_id, needs_id) SELECT o.id, o.id - o.n FROM opened o WHERE o.state = 'waiting';
UPDATE stage s SET attempt_id = s.id FROM opened o WHERE o.id = s.id AND o.state = 'red';
INSERT INTO risk_outcome (id, project_id, run_id, stage_id, attempt_id, ref, name, kind, target, platform, ok) OVERRIDING SYSTEM VALUE
SELECT o.id, o.project_id, o.run_id, o.id, o.id, 'refs/heads/r' || o.run_id, 'verify/' || o.platform || o.n, 'verify', o.platform || o.n, o.platform, false FROM opened o WHERE o.state = 'red';
INSERT INTO stage_line (project_id, ref, name, outcome_id, stage_id, ok, at) SELECT project_id, 'refs/heads/r' || run_id, 'verify/' || platform || n, id, id, false, now() FROM opened WHERE state = 'red';
INSERT INTO assignment (project_id, run_id, stage_id, ref, stage_name, person_id, state, created_by, due_at)
SELECT project_id, run_id, id, 'refs/heads/r' || run_id, 'verify', 1 + id % 40, 'assigned', 'bench', now() + interval '2 days' FROM opened WHERE id % 9 = 0;
ALTER TABLE attempt ENABLE TRIGGER USER; ALTER TABLE stage ENABLE TRIGGER USER; ALTER TABLE run ENABLE TRIGGER USER; ALTER TABLE assignment_event ENABLE TRIGGER USER;
INSERT INTO resolver_change (challenge_id) SELECT id FROM leaf;
VACUUM ANALYZE;
"""


def still(site, db) -> None:
    """The daemon stands still, and not in the middle of a transaction, so that nothing moves what is being laid out."""
    for _ in range(100):
        site.daemons[-1].send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        if db.run("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'").strip() == "0":
            return
        site.daemons[-1].send_signal(signal.SIGCONT)
        time.sleep(0.3)
    raise SystemExit("the daemon never idles")


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--open", type=int, default=3000)
    p.add_argument("--past", type=int, default=60000)
    p.add_argument("--build", default=str(TOP / "build" / "release"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--times", type=int, default=40)
    p.add_argument("--plan", action="store_true")
    o = p.parse_args()
    os.environ["PTL_BUILD"] = o.build
    if not pathlib.Path(o.build, "build.ninja").exists():
        subprocess.run(["cmake", "-S", TOP, "-B", o.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", o.build, "--target", "portoland", "history_bench"], check=True, stdout=subprocess.DEVNULL)
    import bench as history
    import corpus
    from portolan import Site, wait_for
    site, rng = Site(), random.Random(11)
    try:
        # what waits is not weighed anew meanwhile: it has been weighed when the newest outcome was known
        site.start_daemon(**{"database-connections": "2"})
        dsn = f"host={next(x.parent for x in (site.dir / 'state' / 'postgres').rglob('.s.PGSQL.*') if x.suffix != '.lock')} user=portolan dbname=portolan"
        db = corpus.Psql(dsn)
        wait_for("the knowledge base", lambda: int(db.run("SELECT count(*) FROM challenge").strip()) > 90, 60)
        still(site, db)
        db.run(CORPUS.replace(":past", str(o.past)).replace(":open", str(o.open)).replace("VACUUM ANALYZE;", f"UPDATE stage SET risk_seen = {2 * o.past + 200 + o.open} WHERE risk IS NOT NULL;"))
        db.run("VACUUM ANALYZE;")
        site.daemons[-1].send_signal(signal.SIGCONT)
        wait_for("who resolved what", lambda: db.run("SELECT count(*) FROM resolver_change").strip() == "0", 120)
        database = db.run("SELECT current_database()").strip()
        peer = history.pgbench_of(dsn, f"\\set id random(1, {o.past})\nSELECT id, run_id, state, risk_p FROM stage WHERE id = 2 * :id;\n", 3)
        asked = {"the first fifty by risk": "n\tn\tn\tn\tn\ti:0\ts:risk\tn\ti:0\ti:51\ts:admin\tn", "two hundred by risk": "n\tn\tn\tn\tn\ti:0\ts:risk\tn\ti:0\ti:201\ts:admin\tn",
                 "two hundred by due date": "n\tn\tn\tn\tn\ti:0\ts:due\tn\ti:0\ti:201\ts:admin\tn", "fifty of nobody, mobile": "n\ts:mobile\tn\ts:none\tn\ti:0\ts:risk\tn\ti:0\ti:51\ts:admin\tn",
                 "two hundred red ones": "n\tn\tn\tn\ts:red\ti:0\ts:age\tn\ti:0\ti:201\ts:admin\tn", "of one project, confined to it": "n\tn\tn\tn\tn\ti:0\ts:risk\tn\ti:0\ti:51\ts:admin\ts:p007"}
        lines = [f"{label}\tboard\t{args}" for label, args in asked.items() for _ in range(o.times)]
        rng.shuffle(lines)
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as f:
            f.write("\n".join(lines) + "\n")
            f.flush()
            done = subprocess.run([next(pathlib.Path(o.build).rglob("history_bench")), dsn, f.name, str(o.rounds), database], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        print(f"\n{o.open} open stages, {o.past} failures of {db.run('SELECT count(*) FROM leaf').strip()} challenges, 60 projects, 40 people")
        print(f"{'what':<40} {'through':<9} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CPU p50':>8} {'CPU p99':>8}  times the look-up's p50")
        print(f"{'a stage by its key, pgbench -M prepared':<40} {'':<9} {peer[0]:8.2f} {peer[1]:8.2f} {peer[2]:8.2f}")
        for line in sorted(done.stdout.splitlines()):
            label, n, p50, p99, longest, cpu50, cpu99 = line.split("\t")
            mark = "met" if float(p99) <= TARGET_MS else "met on a quiet machine at best" if 0 < float(cpu99) <= TARGET_MS else "MISSED"
            print(f"{label:<40} {'statement':<9} {float(p50):8.2f} {float(p99):8.2f} {float(longest):8.2f} {float(cpu50):8.2f} {float(cpu99):8.2f}  {float(p50) / peer[0]:8.0f}  {TARGET_MS} ms {mark}")
        for label, query in (("the first fifty", "limit=50"), ("two hundred", "limit=200")):
            took = history.over_http(site.url, site.token, [f"/api/v1/board?{query}"] * (o.times + 5), history.Processor(database, site.daemons[-1].pid))
            p50, p99, longest = history.quantiles([t for t, _, _ in took[5:]])
            cpu50, cpu99, _ = history.quantiles([c for _, c, _ in took[5:]])
            print(f"{label:<40} {'HTTP':<9} {p50:8.2f} {p99:8.2f} {longest:8.2f} {cpu50:8.2f} {cpu99:8.2f}  {p50 / peer[0]:8.0f}  {TARGET_MS} ms {'met' if p99 <= TARGET_MS else 'MISSED'}")
        if o.plan:
            text = (TOP / "daemon" / "store" / "sql" / "board.sql").read_text()
            for i, v in enumerate(reversed(["NULL"] * 5 + ["0", "'risk'", "NULL", "0", "201", "'admin'", "NULL"])):
                text = text.replace(f"${12 - i}::", f"{v}::")
            print(db.run(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}"))
    finally:
        site.close()


if __name__ == "__main__":
    main()
