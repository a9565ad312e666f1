#!/usr/bin/env python3
"""Fits the numbers of the weighing (migrations/kb/model/params.yml) on labelled cases.  Python 3, standard library only.

usage: fit.py --tool PORTOLAN-KB [--dir migrations/kb] [--also CASES.jsonl] [--weight FILE=W …] [--once | --shipped] CASES.jsonl … > migrations/kb/model/params.yml

Each case is seen twice: by all indicators and held out (those that speak on it alone are silent), each by a text model that has not seen it. What is
minimised is (--shipped: each case once, by all indicators and the text model that ships; for cases that neither has seen) the mean of -ln p of the accepted answers; then slope and shift of the first answer's calibration are fitted on the same. Deterministic.
"""
import argparse, json, math, random, subprocess, sys

NAMES = ('rules', 'text', 'text_alone', 'prior', 'prior_asked', 'prior_pasted', 'outside', 'asked')
PLATFORMS = ('server', 'mobile', 'browser')
# prior: a project's own counts must keep a say; asked: what a person asks about can still be a full disk.
LIMITS = {'prior': (0.2, 2), 'prior_asked': (0.1, 2), 'prior_pasted': (0.1, 2), 'outside': (-9, 9), 'asked': (-6, 0)}


HEAD = """# The numbers of the weighing (daemon/kb/score.c has the formula), made by tests/bench/diagnosis/fit.py.
version: 1
# rules, text (where an indicator is sure), text_alone (where none speaks), prior (_asked: where a person asks; _pasted: where none does and no stage is known), outside, asked (for outside where a person asks): how much each counts"""
CALIBRATION = "# the first answer's probability: 1 / (1 + exp(-(slope · logit + shift)))"


def outside(x):
    return x.split('/')[0] not in PLATFORMS


def parts(a, held):
    cmd = [a.tool, 'predict' if a.shipped else 'crossval', '--parts'] + (['--dir', a.dir] if a.dir else []) + (['--held-out'] if held else []) + a.cases + [x for f in ([] if a.shipped else a.also) for x in ('--also', f)]
    for l in subprocess.run(cmd, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines():
        yield json.loads(l)


def load(a):
    gold = {}
    for path in a.cases:
        for l in open(path, encoding='utf-8'):
            c = json.loads(l); gold[(path, str(c['id']))] = c
    rows = []
    for held in ((False,) if a.once else (True, False)):
        for p in parts(a, held):
            c = gold.get((p['file'], p['id']))
            if not c: continue
            ok = [c['label']] + list(c.get('alternatives') or [])
            best = max(x[1] for x in p['parts'])
            # what can never win is one lump: nothing of it is accepted, no rule speaks for it, its text is far off
            keep = [x for x in p['parts'] if x[0] in ok or x[1] > 0 or x[2] > -9]
            rows.append((a.weights.get(p['file'], 1.0) * (1.0 if held or a.once else a.seen), held, p['file'], best, [(x[0] in ok, outside(x[0]), x[1], x[2], x[3]) for x in keep], bool(p.get('asked')), bool(p.get('vague'))))
    return rows


def probabilities(k, row):
    alone = math.exp(-1.5 * row[3])
    text = k['text_alone'] * alone + k['text'] * (1 - alone)
    prior = k['prior_asked'] if row[5] else k['prior_pasted'] if row[6] else k['prior']
    z = [k['rules'] * r + text * t + prior * p + ((k['asked'] if row[5] else k['outside']) if out else 0) for _, out, r, t, p in row[4]]
    top = max(z)
    e = [math.exp(x - top) for x in z]
    s = sum(e)
    return [x / s for x in e]


def loss(k, rows):
    total = weight = 0
    for row in rows:
        p = probabilities(k, row)
        good = sum(x for x, c in zip(p, row[4]) if c[0])
        total -= row[0] * math.log(max(good, 1e-4)); weight += row[0]
    return total / weight + 0.002 * sum(k[n] ** 2 for n in NAMES if n not in ('outside', 'asked'))


def right(k, rows, held, file):
    n = ok = 0
    for row in rows:
        if row[1] == held and row[2] == file:
            p = probabilities(k, row); i = max(range(len(p)), key=p.__getitem__)
            n += 1; ok += row[4][i][0]
    return ok / n if n else float('nan')


def fit(rows):
    k = dict(rules=2.0, text=0.5, text_alone=1.0, prior=0.3, prior_asked=0.3, prior_pasted=0.3, outside=0.0, asked=-3.0)
    best = loss(k, rows)
    step = dict(rules=0.8, text=0.3, text_alone=0.4, prior=0.2, prior_asked=0.2, prior_pasted=0.2, outside=0.8, asked=0.5)
    for _ in range(8):
        for n in NAMES:
            for d in (step[n], -step[n]):
                while True:
                    t = dict(k); t[n] += d
                    if not LIMITS.get(n, (0, 9))[0] <= t[n] <= LIMITS.get(n, (0, 9))[1]: break
                    l = loss(t, rows)
                    if l >= best - 1e-6: break
                    k, best = t, l
        step = {n: s / 2 for n, s in step.items()}
    return k, best


def calibrate(k, rows):
    pts = []
    for row in rows:
        p = probabilities(k, row); i = max(range(len(p)), key=p.__getitem__)
        q = min(max(p[i], 1e-6), 1 - 1e-6)
        pts.append((row[0], math.log(q / (1 - q)), row[4][i][0]))
    a, b = 1.0, 0.0
    for _ in range(400):  # logistic regression of "is right" on the logit, by Newton's method
        g0 = g1 = h00 = h01 = h11 = 0
        for w, x, y in pts:
            q = 1 / (1 + math.exp(-(a * x + b))); d = w * (q - y); v = w * q * (1 - q) + 1e-9
            g0 += d * x; g1 += d; h00 += v * x * x; h01 += v * x; h11 += v
        det = h00 * h11 - h01 * h01
        da, db = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        a -= 0.5 * da; b -= 0.5 * db
        if abs(da) + abs(db) < 1e-7: break
    return a, b


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--tool', required=True); ap.add_argument('--dir'); ap.add_argument('--also', action='append', default=[])
    ap.add_argument('--threshold', type=float, default=0.25); ap.add_argument('--weight', action='append', default=[]); ap.add_argument('--once', action='store_true', help='by all indicators only: for cases that no indicator was written for'); ap.add_argument('--seen', type=float, default=0.7, help='weight of a case seen by all indicators'); ap.add_argument('--shipped', action='store_true'); ap.add_argument('cases', nargs='+')
    a = ap.parse_args(); a.once |= a.shipped
    a.weights = {}
    for w in a.weight:
        f, x = w.rsplit('=', 1); a.weights.update({p: float(x) for p in a.cases if p.endswith(f)})
    rows = load(a)
    k, l = fit(rows)
    vague = [r for r in rows if r[6]]
    clear = [r for r in rows if not r[6]]
    for f in a.cases: sys.stderr.write('%-60s held out %.3f, seen %.3f right\n' % (f, right(k, rows, True, f), right(k, rows, False, f)))
    sys.stderr.write('mean -ln p %.4f\n' % l)
    print(HEAD)
    for n in NAMES: print('%s: %g' % (n, round(k[n], 3)))
    print(CALIBRATION)
    print('slope: %.3g\nshift: %.3g' % (calibrate(k, clear) if clear else (1, 0)))
    print('# the same where a person asks, or nobody says which stage failed')
    print('slope_asked: %.3g\nshift_asked: %.3g' % (calibrate(k, vague) if vague else (1, 0)))
    print('# below this the answer is unclear\nthreshold: %g\n# what a line of an earlier stage counts, which ended well\nupstream: 0.75' % a.threshold)


if __name__ == '__main__':
    main()
