#!/usr/bin/env python3
"""How good and how fast is the diagnosis?  Python 3, standard library only.

usage: bench.py --tool BUILD/daemon/kb/portolan-kb [--dir migrations/kb] [--as-shipped] [--wrong N] [--speed] [--also CASES.jsonl] CASES.jsonl ...

CASES: one object a line {"id", "platform", "stage"?, "tool"?, "log" | "title"+"body", "label", "alternatives"?}; a label that begins with
infra/ or program/ is no deployment challenge. The same id in several files is one case: it is never in training and trial at once.

Printed for every file: the indicators alone, the text model alone and both (the text model by 5-fold cross-validation; --as-shipped: the one that
ships, which may have seen the cases): leaf top-1 and top-3, inner top-1, by platform; share of outside cases that get a deployment challenge
first; share of deployment cases that get none; calibration. An answer is right when it is the label or one of its alternatives.
"""
import argparse, json, os, random, re, resource, subprocess, sys, tempfile, time

PLATFORMS = ('server', 'mobile', 'browser')


def outside(label):
    return label is None or label.split('/')[0] not in PLATFORMS


def inner(label):
    return '/'.join(label.split('/')[:2])


def mean(xs):
    xs = list(xs)
    return sum(xs) / len(xs) if xs else float('nan')


def judge(case, p):
    accepted = [case['label']] + list(case.get('alternatives') or [])
    ranked = p['ranked']
    top = ranked[0] if ranked else None
    r = dict(id=case['id'], label=case['label'], top=top, platform=case.get('platform'), outside=outside(case['label']), says=not outside(top), p=p['p'][0] if p['p'] else 0,
             by=p.get('indicators') or [], transient=p.get('transient') == case.get('transient'), unclear=p['state'] == 'unclear')
    leaves = [a for a in accepted if not outside(a)]
    r['right'] = top in accepted or (r['outside'] and outside(top))
    if r['outside']:
        r['kind'] = top in accepted
    else:
        r['leaf1'] = top in leaves
        r['leaf3'] = any(x in leaves for x in ranked[:3])
        r['inner1'] = r['says'] and inner(top) in {inner(a) for a in leaves}
    return r


def calibration(rs, bins=10):
    total, err, table = len(rs), 0, []
    for b in range(bins):
        in_bin = [r for r in rs if b / bins <= r['p'] < (b + 1) / bins or (b == bins - 1 and r['p'] >= 1)]
        if in_bin:
            said, was = mean(r['p'] for r in in_bin), mean(r['right'] for r in in_bin)
            err += abs(said - was) * len(in_bin) / total
            table.append((b / bins, len(in_bin), said, was))
    return err, table


def line(name, rs):
    dep = [r for r in rs if not r['outside']]
    out = [r for r in rs if r['outside']]
    s = '%-34s n=%4d  leaf@1 %.3f  leaf@3 %.3f  inner@1 %.3f' % (name, len(dep), mean(r['leaf1'] for r in dep), mean(r['leaf3'] for r in dep), mean(r['inner1'] for r in dep))
    s += '  missed %.3f' % mean(not r['says'] for r in dep)
    if out:
        s += '  false %.3f (n=%d, exact kind %.3f)' % (mean(r['says'] for r in out), len(out), mean(r['kind'] for r in out))
    return s + '  ECE %.3f  unclear %.3f' % (calibration(rs)[0], mean(r['unclear'] for r in rs))


def run(a, verb, more):
    cmd = [a.tool, verb] + (['--dir', a.dir] if a.dir else []) + more + a.cases + ([x for f in a.also for x in ('--also', f)] if verb == 'crossval' else []) + (['--held-out'] if a.held_out else [])
    out = subprocess.run(cmd, stdout=subprocess.PIPE, check=True).stdout.decode()
    return {(p['file'], str(p['id'])): p for p in map(json.loads, out.splitlines())}


def hostile(rng, n):
    """Lines that hurt matchers: very long ones, colours, progress bars, broken UTF-8, near misses by the thousand."""
    parts = []
    while sum(map(len, parts)) < n:
        k = rng.randrange(6)
        if k == 0: parts.append(b'a' * 80000 + b'\n')
        elif k == 1: parts.append(b''.join(b'\r%d%% [%s]' % (i, b'#' * i) for i in range(100)) + b'\n')
        elif k == 2: parts.append(bytes(rng.randrange(128, 256) for _ in range(2000)) + b'\n')
        elif k == 3: parts.append(b'\x1b[31mERROR\x1b[0m: Didn\'t find op for builtin opcode ' * 50 + b'\n')
        elif k == 4: parts.append(b'error ' * 3000 + b'\n')
        else: parts.append(b'{' * 4000 + b'"x": [' * 1000 + b'\n')
    return b''.join(parts)[:n]


def ordinary(logs, rng, n):
    """Mostly what healthy stages print, now and then a failure's log."""
    quiet = [b'step %d of 1000: loss=%.4f accuracy=%.4f\n' % (i, 1 / (i + 1), i / 1000) for i in range(1000)]
    blob, size = [], 0
    while size < n:
        part = rng.choice(logs) if logs and rng.random() < 0.05 else b''.join(rng.sample(quiet, 40))
        blob.append(part + b'\n'); size += len(part) + 1
    return b''.join(blob)


def source_patterns(a):
    src = a.dir or os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../migrations/kb')
    for f in sorted(os.listdir(os.path.join(src, 'indicators'))):
        for m in re.finditer(r"^\s+pattern: '((?:[^']|'')*)'", open(os.path.join(src, 'indicators', f), encoding='utf-8').read(), re.M):
            yield m.group(1).replace("''", "'")


def on_one_core():
    """The children of this process run on one core only: the last it may use."""
    core = max(os.sched_getaffinity(0))
    return core, lambda: os.sched_setaffinity(0, {core})


def speed_figures(a, best_of=5):
    """[{name, bytes, indicators, diagnosis, scan, grep, literals, re, patterns}]: MB/s of processor time on one core, best of several; the *_wall ones by the clock on the
    wall, which others on the machine slow down."""
    rng, logs = random.Random(7), []
    for path in a.cases:
        for l in open(path, encoding='utf-8'):
            c = json.loads(l)
            if 'log' in c: logs.append(c['log'].encode())
    patterns, literals = list(source_patterns(a)), set()
    for p in patterns:
        runs = re.findall(r"[A-Za-z0-9_ ,:-]{6,}", re.sub(r'\\.|\[[^]]*\]|\(\?<\w+>|\{[^}]*\}', '\0', p))
        if runs: literals.add(max(runs, key=len))
    rx = []
    for p in patterns:
        try: rx.append(re.compile(re.sub(r'\(\?<(\w+)>', r'(?P<\1>', p).encode()))
        except re.error: pass
    core, pin = on_one_core()
    figures = []
    with tempfile.TemporaryDirectory() as d:
        lit = os.path.join(d, 'literals')
        open(lit, 'w').write('\n'.join(sorted(literals)) + '\n')
        for name, data in (('ordinary', ordinary(logs, rng, 32 << 20)), ('hostile', hostile(rng, 16 << 20))):
            path, mb, got = os.path.join(d, name + '.log'), len(data) / 1e6, {}
            open(path, 'wb').write(data)
            for _ in range(best_of):
                out = subprocess.run([a.tool, 'speed'] + (['--dir', a.dir] if a.dir else []) + [path], stdout=subprocess.PIPE, check=True, preexec_fn=pin).stdout
                r = json.loads(out)
                for k, us in (('diagnosis', 'diagnosis_cpu_us'), ('scan', 'scan_cpu_us'), ('diagnosis_wall', 'diagnosis_us'), ('scan_wall', 'scan_us')):
                    got[k] = max(got.get(k, 0), mb / (r[us] / 1e6))
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(['grep', '-F', '-c', '-a', '-f', lit, path], stdout=subprocess.DEVNULL, env=dict(os.environ, LC_ALL='C'), preexec_fn=pin)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                got['grep'] = max(got.get('grep', 0), mb / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
            sample = data[: 1 << 18]
            t = time.process_time()
            for l in sample.split(b'\n'):
                for x in rx: x.search(l[:8192])
            got['re'] = len(sample) / 1e6 / (time.process_time() - t)
            figures.append(dict(got, name=name, bytes=len(data), indicators=r['indicators'], literals=len(literals), patterns=len(rx), core=core, load=os.getloadavg()[0]))
    return figures


def speed_lines(figures):
    for f in figures:
        yield '%-9s %5.1f MB, %d indicators: whole diagnosis %6.1f MB/s, scan and matches %6.1f MB/s (by the wall %.1f and %.1f; load %.1f)' % (
            f['name'], f['bytes'] / 1e6, f['indicators'], f['diagnosis'], f['scan'], f['diagnosis_wall'], f['scan_wall'], f['load'])
        yield '%-9s          grep -F with %d literals %6.1f MB/s' % (f['name'], f['literals'], f['grep'])
        yield '%-9s          a loop of %d Python re %9.4f MB/s' % (f['name'], f['patterns'], f['re'])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--tool', required=True); ap.add_argument('--dir'); ap.add_argument('--as-shipped', action='store_true')
    ap.add_argument('--wrong', type=int, default=0); ap.add_argument('--speed', action='store_true'); ap.add_argument('--table', action='store_true')
    ap.add_argument('--dump'); ap.add_argument('--held-out', action='store_true', help='indicators that speak on one case only are silent there'); ap.add_argument('--also', action='append', default=[], help='cases to train on only (cases.py makes them)'); ap.add_argument('cases', nargs='+')
    a = ap.parse_args()
    gold = {}
    for path in a.cases:
        for l in open(path, encoding='utf-8'):
            if l.strip():
                c = json.loads(l); gold[(path, str(c['id']))] = c
    ways = [('both', ('predict' if a.as_shipped else 'crossval'), []), ('indicators alone', 'predict', ['--rules-only'])]
    if not a.as_shipped: ways.append(('text model alone', 'crossval', ['--text-only']))
    for name, verb, more in ways:
        pred = run(a, verb, more)
        print('== %s' % name)
        for path in a.cases:
            rs = [judge(c, pred[k]) for k, c in gold.items() if k[0] == path]
            print(line(os.path.basename(path), rs))
            if name == 'both':
                for p in PLATFORMS:
                    sub = [r for r in rs if r['platform'] == p]
                    if any(not r['outside'] for r in sub): print(line('  ' + p, sub))
                if a.table:
                    for lo, n, said, was in calibration(rs)[1]: print('    said %.2f: was %.2f (n=%d)' % (said, was, n))
                for r in [r for r in rs if not r['right']][:a.wrong]:
                    print('    wrong %-44s %-62s got %.2f %-62s %s' % (r['id'], r['label'], r['p'], r['top'], ' '.join(r['by'])))
        if name == 'both' and a.dump:
            json.dump([dict(p, label=gold[k]['label'], alternatives=gold[k].get('alternatives')) for k, p in pred.items() if k in gold], open(a.dump, 'w'))
    if a.speed:
        print('== speed: MB/s of processor time on one core, best of 5')
        for l in speed_lines(speed_figures(a)): print(l)


if __name__ == '__main__':
    sys.exit(main())
