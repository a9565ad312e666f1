"""A seeded corpus of failures, straight into PostgreSQL: the words of the knowledge base's own fixtures as what tools print, names, numbers and versions drawn
anew for each failure, a few thousand distinct templates, projects and causes as unequal as they are in life.

    corpus.py DSN ROWS [SEED]      into a database whose migrations are applied and which is otherwise empty

Triggers of `failure` are off while it loads; the counts are then made from the rows at once. Logs count as let go by retention: else a daemon would find
none, label the failures anew without them, newest first, and leave searches among the newest nothing to find. What the triggers cost is measured by bench.py.
"""
from __future__ import annotations

import datetime
import hashlib
import json
import pathlib
import random
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
DAYS = 730
START = datetime.datetime(2024, 11, 1, tzinfo=datetime.timezone.utc)
WORDS = "encoder decoder backbone head neck stem block attention pooling embedding classifier detector segmenter mixer tokenizer adapter router gate expert fusion".split()
OPS = "GridSample DeformConv2d NonMaxSuppression Einsum ScatterND CTCGreedyDecoder ComplexAbs RFFT2D Conv3DTranspose MatrixDiag Cumsum Unique TopKV2 SparseToDense LSTMBlockCell Erf Roll Qr Svd RandomStandardNormal".split()
VERSIONS = {"tensorflow": ["2.13.1", "2.15.0", "2.16.2", "2.17.1", "2.18.0", "2.19.1"], "torch": ["1.13.1", "2.1.2", "2.3.0", "2.5.1", "2.7.0"], "onnx": ["1.12.0", "1.15.0", "1.16.1", "1.17.0"],
            "onnxruntime": ["1.16.3", "1.18.0", "1.20.1", "1.22.0"], "ai-edge-litert": ["1.0.1", "1.2.0", "2.0.2"], "tensorflowjs": ["4.17.0", "4.20.0", "4.22.0"], "onnxruntime-web": ["1.18.0", "1.21.0"]}
STAGES = [("export", "export", None, "server", "server"), ("verify/server", "verify", "server", "server", "server"), ("convert/android", "convert", "android", "mobile", "server"),
          ("verify/android", "verify", "android", "mobile", "mobile"), ("convert/web", "convert", "web", "browser", "server"), ("verify/web", "verify", "web", "browser", "browser")]
USES = {"export": ["keras/saved-model", "pytorch/onnx", None], "verify/server": ["onnxruntime/predict", "http/predict", None], "convert/android": ["tensorflow/tflite", "onnx/quantize"],
        "verify/android": ["litert/run", "onnxruntime/run"], "convert/web": ["tfjs/convert", None], "verify/web": ["tfjs/run", "onnxruntime-web/run"]}


def mask(line: str) -> str:
    line = re.sub(r"https?://\S+", "<url>", line)
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "<q>", line)
    line = re.sub(r"(?:/[\w.-]+){2,}", "<path>", line)
    line = re.sub(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{12,}\b", "<hex>", line)
    return re.sub(r"\d+(?:[.,]\d+)*", "<n>", line)[:400]


class Cause:
    def __init__(self, name: str, challenge: str | None, lines: list[str]):
        self.name, self.challenge, self.lines = name, challenge, lines
        self.variants: list[tuple[str, list[str]]] = []


def read_causes(rng: random.Random) -> tuple[list[Cause], list[str]]:
    causes, noise = [], []
    for path in sorted((TOP / "tests" / "kb").glob("*/*/yes-*.log")):
        head, body = {}, []
        for line in path.read_text(errors="replace").splitlines():
            m = re.match(r"# (\w+): (.*)", line)
            if m and not body:
                head[m[1]] = m[2]
            elif line.strip():
                body.append(line.replace("\x00", "").strip()[:400])
        expect = head.get("expect", "none").split(",")[0].strip()
        said = [b for b in body if re.search(r"[A-Za-z]{4}", b)]
        if not said:
            continue
        key = max(said, key=lambda b: (bool(re.search(r"rror|xception|fail|annot|not ", b)), len(b)))
        causes.append(Cause(str(path.relative_to(TOP)), None if expect == "none" else expect, [key] + [b for b in said if b != key][:4]))
        noise += said[:1]
    for cause in causes:  # ways in which tools of different versions say the same
        for i in range(1 + min(40, int(rng.paretovariate(0.9)))):
            key = cause.lines[0]
            if i:
                at = rng.randrange(1, max(2, len(key.split())))
                words = key.split()
                key = " ".join(words[:at] + [rng.choice(WORDS) + "_" + rng.choice(WORDS)] + words[at:])[:400]
            cause.variants.append((key, cause.lines[1:] + rng.sample(noise, rng.choice([0, 0, 1, 2]))))
    return causes, noise


def fill(rng: random.Random, line: str, op: str) -> str:
    line = re.sub(r"\d+", lambda m: str(rng.randrange(10 ** len(m[0]))) if len(m[0]) < 6 else m[0], line)
    return re.sub(r"'([A-Za-z_][\w/.:-]{2,})'", lambda m: f"'{op if rng.random() < .3 else rng.choice(WORDS) + '_' + str(rng.randrange(99))}'", line)


def bands(lines: list[str]) -> list[int]:
    tokens = {w for line in lines for w in re.findall(r"[A-Za-z_]{3,}", mask(line))}
    out = []
    for band in range(16):
        low = [min(int.from_bytes(hashlib.blake2b(f"{band}.{row}.{t}".encode(), digest_size=8).digest(), "big") for t in tokens or {""}) for row in range(2)]
        out.append(int.from_bytes(hashlib.blake2b(repr((band, low)).encode(), digest_size=8).digest(), "big", signed=True))
    return out


def text(value) -> str:
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


class Psql:
    def __init__(self, dsn: str):
        self.dsn = dsn

    def run(self, sql: str) -> str:
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.dsn], input=sql, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"psql: {done.stderr[:2000]}")
        return done.stdout

    def copy(self, table: str, columns: str, rows) -> None:
        p = subprocess.Popen(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", f"COPY {table} ({columns}) FROM STDIN", self.dsn], stdin=subprocess.PIPE, text=True, encoding="utf-8")
        for r in rows:
            p.stdin.write("\t".join(map(text, r)) + "\n")
        p.stdin.close()
        if p.wait():
            raise SystemExit(f"COPY {table} failed")


def load(dsn: str, rows: int, seed: int = 7, say=lambda t: print(t, file=sys.stderr, flush=True)) -> None:
    rng, db = random.Random(seed), Psql(dsn)
    causes, _ = read_causes(rng)
    templates, shapes = {}, {}
    for c in causes:
        for v, (key, rest) in enumerate(c.variants):
            t = templates.setdefault(mask(key), len(templates) + 1)
            shapes[(c.name, v)] = (len(shapes) + 1, t, bands([key] + rest))
    say(f"{len(causes)} causes, {len(templates)} templates, {len(shapes)} shapes")
    projects = max(20, min(400, rows // 2500))
    agents = [f"agent-{k}-{i}" for k in ("server", "mobile", "browser") for i in range(12)]
    people = [f"{n.title()} Example <{n}@example.org>" for n in ("ada bob carol dan eve frank grace heidi ivan judy mallory niaj olivia peggy rupert sybil trent victor walter yara").split()]
    db.run("ALTER TABLE failure DISABLE TRIGGER USER; ALTER TABLE attempt DISABLE TRIGGER USER; ALTER TABLE stage DISABLE TRIGGER USER; ALTER TABLE run DISABLE TRIGGER USER;"
           f"INSERT INTO project (name, url) SELECT 'p' || to_char(i, 'FM000'), 'https://git.example.org/p' || i FROM generate_series(1, {projects}) i;")
    db.copy("failure_template", "text", ((t,) for t in templates))
    db.copy("failure_shape", "fingerprint, template_id", ((f"{s[0]:016x}", s[1]) for s in shapes.values()))
    db.copy("failure_band", "band, shape_id", sorted({(b, s[0]) for s in shapes.values() for b in s[2]}))
    db.copy("failure_version", "tool, version", ((t, v) for t, vs in VERSIONS.items() for v in vs))
    # each project meets its own causes, some of them often
    home = []
    for _ in range(projects):
        own = rng.sample(causes, rng.randrange(12, 60))
        home.append((own, [1 / (i + 1) for i in range(len(own))], rng.sample(people, rng.randrange(2, 7)), [rng.choice(USES[s[0]]) for s in STAGES], rng.random() < 0.5))
    pweights = [1 / (i + 1) ** 0.8 for i in range(projects)]
    pick = rng.choices(range(projects), pweights, k=rows)

    def raw():
        span = DAYS * 86400 / rows
        for i in range(rows):
            p = pick[i]
            own, weights, who, uses, tf = home[p]
            cause = rng.choices(own, weights)[0]
            platform = (cause.challenge or "x").split("/")[0]
            suits = [k for k, s in enumerate(STAGES) if s[3] == platform] or range(len(STAGES))
            k = rng.choice(suits)
            name, kind, target, plat, host = STAGES[k]
            v = rng.randrange(len(cause.variants)) if rng.random() < 0.5 else 0
            key, rest = cause.variants[v]
            op = rng.choice(OPS)
            env = {"python": rng.choice(["3.10.12", "3.11.2", "3.12.3"])}
            for tool in (["tensorflow"] if tf else ["torch", "onnx"]) + {"mobile": ["ai-edge-litert"], "browser": ["tensorflowjs"], "server": ["onnxruntime"]}[plat]:
                vs = VERSIONS[tool]
                env[tool] = vs[min(len(vs) - 1, int(len(vs) * i / rows * 1.1))] if rng.random() < .8 else rng.choice(vs)
            at = START + datetime.timedelta(seconds=span * (i + rng.random()))
            solved = at + datetime.timedelta(minutes=rng.lognormvariate(5.5, 1.8)) if rng.random() < 0.72 else None
            branch = "main" if rng.random() < 0.6 else f"feature/{rng.randrange(400)}"
            sid, tid, _ = shapes[(cause.name, v)]
            challenge = cause.challenge if rng.random() < 0.92 else None
            yield (i + 1, p + 1, at.isoformat(), name, kind, target, plat, host, uses[k], branch, hashlib.sha1(str(i // 3).encode()).hexdigest(), rng.choice(who), rng.choice(agents), challenge, round(rng.uniform(.4, .99), 3),
                   fill(rng, key, op), "\n".join(fill(rng, r, op) for r in rest), op if re.search(r"\bop", key, re.I) else None, json.dumps(env), f"{sid:016x}", tid, sid, round(rng.uniform(.1, 20), 2), solved.isoformat() if solved else None, cause.name)
    db.run("CREATE UNLOGGED TABLE corpus (attempt_id bigint, project_id bigint, at timestamptz, stage text, kind text, target text, platform text, host text, uses text, branch text, sha text, author text, agent text, challenge_id text,"
           " probability real, key_line text, evidence text, operator text, versions jsonb, fingerprint text, template_id bigint, shape_id bigint, run_minutes real, resolved_at timestamptz, cause text)")
    db.copy("corpus", "attempt_id, project_id, at, stage, kind, target, platform, host, uses, branch, sha, author, agent, challenge_id, probability, key_line, evidence, operator, versions, fingerprint, template_id, shape_id, run_minutes, resolved_at, cause", raw())
    say("rows are in; runs, stages, attempts")
    db.run("SET synchronous_commit = off; INSERT INTO run (id, project_id, number, ref, commit_sha, commit_author, state, trigger, created_by) OVERRIDING SYSTEM VALUE SELECT attempt_id, project_id, attempt_id, 'refs/heads/' || branch, sha, author, 'red', 'hook', 'corpus' FROM corpus;"
           "INSERT INTO stage (id, run_id, position, name, kind, target, host, uses, spec, state, timeout_ms, queue_timeout_ms, total_timeout_ms) OVERRIDING SYSTEM VALUE SELECT attempt_id, attempt_id, 1, stage, kind, target, host, uses, '{}', 'red', 1, 1, 1 FROM corpus;"
           "INSERT INTO attempt (id, stage_id, fence, agent_name, ended_at, ok, end_reason, challenge_id, diagnosis_state, log_pruned_at) OVERRIDING SYSTEM VALUE SELECT attempt_id, attempt_id, 1, agent, at, false, 'exit', challenge_id, 'done', at FROM corpus;"
           "SELECT setval(pg_get_serial_sequence(t, 'id'), (SELECT max(attempt_id) FROM corpus)) FROM unnest(ARRAY['run', 'stage', 'attempt']) t;"
           "INSERT INTO failure_form (stage, kind, target, platform, tool, challenge_id) SELECT DISTINCT stage, kind, COALESCE(target, ''), platform, COALESCE(uses, 'command'), COALESCE(challenge_id, '') FROM corpus ORDER BY 1, 2, 3, 4, 5, 6;"
           "INSERT INTO failure_class (project_id, form_id) SELECT DISTINCT c.project_id, f.id FROM corpus c JOIN failure_form f ON f.stage = c.stage AND f.kind = c.kind AND f.target = COALESCE(c.target, '') AND f.platform = c.platform AND f.tool = COALESCE(c.uses, 'command') AND f.challenge_id = COALESCE(c.challenge_id, '');")
    say("failures with their terms")
    db.run("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; DROP INDEX failure_terms;"
           "INSERT INTO failure (attempt_id, project_id, run_id, stage_id, class_id, at, stage, kind, target, platform, host, uses, tool, ref, branch, commit_sha, author, agent, end_reason, challenge_id, challenge_by, probability, summary, key_line, evidence, operator,"
           "  versions, fingerprint, template_id, shape_id, run_minutes, cost_minutes, resolved_at, terms) "
           "SELECT c.attempt_id, c.project_id, c.attempt_id, c.attempt_id, k.id, c.at, c.stage, c.kind, c.target, c.platform, c.host, c.uses, COALESCE(c.uses, 'command'), 'refs/heads/' || c.branch, c.branch, c.sha, c.author, c.agent, 'exit', c.challenge_id, 'diagnosis', c.probability,"
           "  c.key_line, c.key_line, c.evidence, c.operator, c.versions, c.fingerprint, c.template_id, c.shape_id, c.run_minutes, c.run_minutes + COALESCE(extract(epoch FROM c.resolved_at - c.at) / 60, 0), c.resolved_at,"
           "  to_tsvector('english', failure_words(concat_ws(' ', c.key_line, c.evidence, c.operator))) || array_to_tsvector(ARRAY(SELECT DISTINCT failure_tag(t.k, t.v) FROM ("
           "    VALUES ('p', c.project_id::text), ('pf', c.platform), ('t', c.target), ('s', c.stage), ('k', c.kind), ('tool', COALESCE(c.uses, 'command')), ('tool', split_part(c.uses, '/', 1)), ('op', c.operator), ('b', c.branch), ('a', c.author),"
           "      ('a', trim(split_part(c.author, '<', 1))), ('a', substring(c.author FROM '<([^>]*)>')), ('ag', c.agent), ('e', 'exit'), ('x', h.taxonomy), ('m', to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM')), ('c', COALESCE(c.challenge_id, 'none')),"
           "      ('c', split_part(c.challenge_id, '/', 1)), ('c', regexp_replace(c.challenge_id, '/[^/]*$', '')) UNION ALL SELECT 'tool', j FROM jsonb_object_keys(c.versions) j UNION ALL SELECT 'v', j || '=' || v FROM jsonb_each_text(c.versions) AS x (j, v)"
           "  ) AS t (k, v) WHERE t.v <> '')) "
           "FROM corpus c LEFT JOIN challenge h ON h.id = c.challenge_id JOIN failure_form o ON o.stage = c.stage AND o.kind = c.kind AND o.target = COALESCE(c.target, '') AND o.platform = c.platform AND o.tool = COALESCE(c.uses, 'command') AND o.challenge_id = COALESCE(c.challenge_id, '')"
           " JOIN failure_class k ON k.project_id = c.project_id AND k.form_id = o.id"
           " ORDER BY c.attempt_id;"
           "CREATE INDEX failure_terms ON failure USING gin (terms) WITH (gin_pending_list_limit = 512);")
    say("counts")
    db.run("UPDATE failure_class k SET failures = x.n, resolved = x.r FROM (SELECT class_id, count(*) AS n, count(resolved_at) AS r FROM failure GROUP BY 1) x WHERE x.class_id = k.id;"
           "INSERT INTO failure_day SELECT project_id, (at AT TIME ZONE 'UTC')::date, COALESCE(challenge_id, ''), count(*), count(resolved_at) FROM failure GROUP BY 1, 2, 3;"
           "INSERT INTO failure_total SELECT unit, date_trunc(unit, day)::date, challenge_id, sum(failures), sum(resolved) FROM failure_day, (VALUES ('day'), ('week'), ('month')) u (unit) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;"
           "INSERT INTO failure_hours SELECT project_id, date_trunc('month', (at AT TIME ZONE 'UTC')::date)::date, COALESCE(challenge_id, ''), hours_bucket(resolved_at - at), count(*) FROM failure WHERE resolved_at IS NOT NULL GROUP BY 1, 2, 3, 4;"
           "INSERT INTO failure_total_hours SELECT month, challenge_id, bucket, sum(n) FROM failure_hours GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;"
           "INSERT INTO failure_operator SELECT project_id, operator, platform, tool, COALESCE(challenge_id, ''), count(*), count(resolved_at), min(at)::date, max(at)::date FROM failure WHERE operator IS NOT NULL GROUP BY 1, 2, 3, 4, 5;"
           "INSERT INTO toolchain_pair SELECT project_id, kind, m, u, count(*) * 3, count(*), max(at)::date, max(at)::date FROM (SELECT project_id, kind, at, toolchain_of(versions, true) AS m, toolchain_of(versions, false) AS u FROM failure WHERE kind <> 'export') x WHERE m IS NOT NULL AND u IS NOT NULL GROUP BY 1, 2, 3, 4;"
           "ALTER TABLE failure ENABLE TRIGGER USER; ALTER TABLE attempt ENABLE TRIGGER USER; ALTER TABLE stage ENABLE TRIGGER USER; ALTER TABLE run ENABLE TRIGGER USER;")
    db.run("INSERT INTO failure_alike SELECT t.id, n.far, n.id FROM failure_template t, LATERAL (SELECT x.id, x.text <-> t.text AS far FROM failure_template x WHERE x.id <> t.id ORDER BY x.text <-> t.text LIMIT 12) n WHERE n.far <= 0.7;")
    db.run("VACUUM ANALYZE;")


VOCABULARY = 50_000


def log_word(rank: int) -> str:
    """The word of this rank: the first is in nearly every log, the last in a few of them."""
    return f"{WORDS[rank % len(WORDS)]}{hashlib.md5(str(rank).encode()).hexdigest()[:5]}"


def logs(dsn: str, rows: int, seed: int = 7, say=lambda t: print(t, file=sys.stderr, flush=True)) -> None:
    """Words of whole logs for the newest failures, some 400 different ones each, as unequal as words are; straight into failure_log, without logs."""
    rng, db = random.Random(seed), Psql(dsn)
    weights = [1 / (i + 3) for i in range(VOCABULARY)]
    sets = [[log_word(r) for r in set(rng.choices(range(VOCABULARY), weights, k=260))] for _ in range(8000)]
    db.run("DROP TABLE IF EXISTS corpus_noise; CREATE UNLOGGED TABLE corpus_noise (i integer PRIMARY KEY, words tsvector)")
    db.copy("corpus_noise", "i, words", ((i, " ".join(f"'{w}'" for w in sorted(s))) for i, s in enumerate(sets)))
    say("words of logs")
    db.run("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; DROP INDEX failure_log_words; ALTER TABLE failure_log DISABLE TRIGGER USER;"
           "INSERT INTO failure_log (attempt_id, at, words, n, cut) SELECT f.attempt_id, f.at, strip(a.words || b.words || to_tsvector('english', failure_words(concat_ws(' ', f.key_line, f.evidence)))) || array_to_tsvector(failure_tags(f.terms)), 400, false"
           f"  FROM failure f JOIN corpus_noise a ON a.i = f.attempt_id % 4999 JOIN corpus_noise b ON b.i = 4999 + f.attempt_id % 2999 WHERE f.attempt_id > (SELECT max(attempt_id) FROM failure) - {rows} ORDER BY f.at;"
           "CREATE INDEX failure_log_words ON failure_log USING gin (words) WITH (gin_pending_list_limit = 2048); ALTER TABLE failure_log ENABLE TRIGGER USER; DROP TABLE corpus_noise;")
    db.run("VACUUM ANALYZE failure_log")


def words_of_people(dsn: str, every: int = 50, say=lambda t: print(t, file=sys.stderr, flush=True)) -> None:
    """Each so manieth failure gets a diagnosis and a person's word on it, most of them that it is right: what feedback_like looks through."""
    say("people's words")
    Psql(dsn).run("SET synchronous_commit = off; ALTER TABLE attempt DISABLE TRIGGER USER; ALTER TABLE feedback DISABLE TRIGGER USER;"
                  "UPDATE attempt a SET diagnosis = jsonb_build_object('state', 'diagnosed', 'kb', 'old', 'version', 2, 'summary', f.summary, 'fingerprint', f.fingerprint, 'template', t.text, 'platform', f.platform, 'challenges', jsonb_build_array(jsonb_build_object('id', f.challenge_id, 'probability', 0.8)),"
                  "  'evidence', jsonb_build_array(jsonb_build_object('text', f.key_line, 'line', 1, 'indicator', 'one-' || f.template_id % 400), jsonb_build_object('text', f.key_line, 'line', 2, 'indicator', 'two-' || f.template_id % 397)))"
                  f"  FROM failure f JOIN failure_template t ON t.id = f.template_id WHERE a.id = f.attempt_id AND f.challenge_id IS NOT NULL AND f.attempt_id % {every} = 0;"
                  "INSERT INTO feedback (attempt_id, verdict, challenge_id, said_id, by_name) SELECT attempt_id, CASE WHEN template_id % 10 = 0 THEN 'correct' WHEN template_id % 33 = 0 THEN 'not_a_challenge' ELSE 'confirm' END,"
                  f"  CASE WHEN template_id % 10 = 0 OR template_id % 33 <> 0 THEN challenge_id END, challenge_id, 'ann' FROM failure WHERE challenge_id IS NOT NULL AND attempt_id % {every} = 0 ORDER BY attempt_id;"
                  "SELECT count(feedback_word_refresh(attempt_id)) FROM feedback; ALTER TABLE attempt ENABLE TRIGGER USER; ALTER TABLE feedback ENABLE TRIGGER USER;")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 7)
