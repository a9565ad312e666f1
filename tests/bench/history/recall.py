#!/usr/bin/env python3
"""tests/bench/history/recall.py - how good `similar` is, not how fast: of labelled failures of the corpus, what is found of the same challenge by the same
mechanism (the indicator whose fixture logs a failure was made from, tests/kb/AREA/INDICATOR) in other projects. Beside it plain full-text search for the failure's
best line: all of its words (AND), and any of them, best rank first (OR). Gates nothing.

    recall.py --dsn DSN [--sample N] [--or-sample N]     a database that bench.py --dsn or corpus.py has loaded

precision@5: of the first five of other projects, how many are relevant (fewer found: of those; nothing found counts 0).
recall@20: of twenty relevant ones, or as many as there are in other projects, how many are among the first twenty.
`found` is the share of failures for which anything came at all. Times are wall times of the statement through psql and say little on a busy machine.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
sys.dont_write_bytecode = True
from corpus import Psql  # noqa: E402

SIMILAR = "".join(line for line in (TOP / "daemon/store/sql/failure_similar.sql").read_text().splitlines(True) if not line.startswith("--")).rstrip().rstrip(";")
WAYS = {
    "similar": f"PREPARE way AS SELECT attempt_id FROM ({SIMILAR}) AS s;",
    "full text, AND": "PREPARE way (bigint, text, bigint) AS SELECT f.attempt_id FROM failure me, failure f WHERE me.attempt_id = $1 AND f.attempt_id <> $1 AND f.terms @@ plainto_tsquery('english', failure_words(me.key_line)) "
                      "ORDER BY ts_rank(f.terms, plainto_tsquery('english', failure_words(me.key_line))) DESC, f.at DESC LIMIT $3;",
    "full text, OR": "PREPARE way (bigint, text, bigint) AS WITH q AS MATERIALIZED (SELECT replace(plainto_tsquery('english', failure_words(key_line))::text, '&', '|')::tsquery AS q FROM failure WHERE attempt_id = $1) "
                     "SELECT f.attempt_id FROM q, failure f WHERE f.attempt_id <> $1 AND f.terms @@ q.q ORDER BY ts_rank(f.terms, q.q) DESC, f.at DESC LIMIT $3;",
}


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--dsn", required=True)
    p.add_argument("--sample", type=int, default=300)
    p.add_argument("--or-sample", type=int, default=30, help="OR reads most of a large corpus for each: seconds")
    o = p.parse_args()
    db, rng = Psql(o.dsn), random.Random(17)
    rows = int(db.run("SELECT count(*) FROM corpus").strip())
    ids = sorted(rng.sample(range(1, rows + 1), min(rows, 4 * o.sample)))
    mechanism = "regexp_replace({}.cause, '/[^/]*$', '')"
    db.run(f"CREATE INDEX IF NOT EXISTS corpus_mechanism ON corpus (({mechanism.format('corpus')}), challenge_id)")
    asked = [json.loads(line) for line in db.run(
        f"SELECT json_build_object('id', c.attempt_id, 'mechanism', {mechanism.format('c')}, 'challenge', c.challenge_id, 'project', c.project_id, 'relevant', r.n) FROM corpus c, LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM corpus o WHERE {mechanism.format('o')} = {mechanism.format('c')} AND o.challenge_id = c.challenge_id AND o.project_id <> c.project_id LIMIT 20) x) r "
        f"WHERE c.attempt_id = ANY ('{{{','.join(map(str, ids))}}}') AND c.challenge_id IS NOT NULL AND r.n > 0 ORDER BY c.attempt_id").splitlines()]
    rng.shuffle(asked)
    asked = asked[:o.sample]
    print(f"{rows} failures, {len(asked)} asked for, load {os.getloadavg()[0]:.1f}")
    print(f"{'way':<16} {'asked':>6} {'precision@5':>12} {'recall@20':>10} {'found':>7} {'ms each':>9}")
    for way, prepare in WAYS.items():
        part = asked[:o.or_sample] if way.endswith("OR") else asked
        began = time.monotonic()
        out = db.run("SET jit = off; " + prepare + "".join(f"\\echo asked {a['id']}\nEXECUTE way({a['id']}, NULL, 100);\n" for a in part))
        took = (time.monotonic() - began) * 1e3 / max(1, len(part))
        found: dict[int, list[int]] = {}
        for line in out.splitlines():
            if line.startswith("asked "):
                at = int(line[6:])
                found[at] = []
            else:
                found[at].append(int(line))
        every = sorted({i for f in found.values() for i in f})
        labels = {}
        for k in range(0, len(every), 20000):
            for line in db.run(f"SELECT attempt_id, project_id, COALESCE(challenge_id, ''), {mechanism.format('corpus')} FROM corpus WHERE attempt_id = ANY ('{{{','.join(map(str, every[k:k + 20000]))}}}')").splitlines():
                i, project, challenge, by = line.split("|")
                labels[int(i)] = (int(project), challenge, by)
        precision, recall, any_found = 0.0, 0.0, 0
        for a in part:
            others = [i for i in found.get(a["id"], []) if labels[i][0] != a["project"]]
            good = [labels[i][1:] == (a["challenge"], a["mechanism"]) for i in others]
            any_found += bool(others)
            precision += sum(good[:5]) / len(good[:5]) if good else 0
            recall += sum(good[:20]) / a["relevant"]
        n = max(1, len(part))
        print(f"{way:<16} {n:>6} {precision / n:>12.3f} {recall / n:>10.3f} {any_found / n:>7.2f} {took:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
