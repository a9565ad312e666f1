#!/usr/bin/env python3
"""The labelled cases that the tree itself holds, one JSON object a line: fixtures of the indicators whose header says what to expect, and the
cases written by hand in migrations/kb/cases/. For `portolan-kb train`.  usage: cases.py > cases.jsonl"""
import hashlib, json, os, random, re, sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../..')


def fixtures():
    top = os.path.join(ROOT, 'tests/kb')
    for area in sorted(os.listdir(top)):
        for slug in sorted(os.listdir(os.path.join(top, area))) if os.path.isdir(os.path.join(top, area)) else []:
            d = os.path.join(top, area, slug)
            for name in sorted(os.listdir(d)) if os.path.isdir(d) else []:
                head, body = {}, []
                for l in open(os.path.join(d, name), encoding='utf-8', errors='replace').read().split('\n'):
                    if not body and l.startswith('# ') and ':' in l and ' ' not in l[2:l.index(':')]:
                        k, v = l[2:].split(':', 1); head[k] = v.strip()
                    else: body.append(l)
                labels = [x.strip() for x in head.get('expect', '').split(',') if x.strip() and x.strip() != 'none']
                if labels:
                    yield dict(id='fixture-%s-%s-%s' % (area, slug, name), platform=head.get('platform'), stage=head.get('stage'), tool=head.get('tool', ''),
                               log='\n'.join(body), label=labels[0], alternatives=labels[1:4], weight=0.7)


def by_hand():
    top = os.path.join(ROOT, 'migrations/kb/cases')
    for name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        for l in open(os.path.join(top, name), encoding='utf-8') if name.endswith('.jsonl') else []:
            if l.strip(): yield json.loads(l)


def harmless():
    """[(platform or '' or 'end', [lines])]"""
    blocks, where, lines = [], '', []
    for l in open(os.path.join(ROOT, 'tests/bench/diagnosis/harmless.txt'), encoding='utf-8').read().split('\n') + ['']:
        if l.startswith('## '): where = l[3:].strip()
        elif l.startswith('# '): continue
        elif l: lines.append(l)
        elif lines: blocks.append((where, lines)); where, lines = '', []
    return blocks


def inside(case, blocks):
    """The case among what healthy stages print: which of it follows from its id."""
    rng = random.Random(hashlib.sha256(str(case['id']).encode()).hexdigest())
    home = [b for w, b in blocks if w in ('', case['platform'])]
    before, after = [], rng.choice([b for w, b in blocks if w == 'end']) if rng.random() < 0.7 else []
    for b in rng.sample(home, min(len(home), rng.randrange(2, 6))):
        n = rng.randrange(1, 7); k = rng.randrange(max(1, len(b) - n + 1))
        if rng.random() < 0.85: before += b[k:k + n]
        else: after = b[k:k + n] + after
    return dict(case, log='\n'.join(before + [case['log']] + after), weight=case.get('weight', 1.0) * 0.5)


PERSON = re.compile(r"(?:^|[ (])I [a-z']+[ .,]|(?:^|[ (])(?:I'm|I've|I'd) |(?:^| )(?:[Hh]ow (?:to|do|does|can|should|could) |[Ii]s it possible|[Ii]s there (?:a|any) |[Cc]an (?:I|some|any|you|we)|[Ww]hat (?:is|are) )|^```|^[^ ]+ [^ ]+ [^ ]+ .*[^']\?$", re.M)


def is_log(case):
    """Printed by a program, as far as one can see: the same signs as MARK_PERSON in daemon/kb/engine.c"""
    return 'log' in case and not PERSON.search(case['log'])


def main():
    blocks = harmless()
    for case in list(fixtures()) + list(by_hand()):
        if is_log(case) and '--plain' not in sys.argv:
            sys.stdout.write(json.dumps(inside(case, blocks), sort_keys=True) + '\n')
            case = dict(case, weight=case.get('weight', 1.0) * 0.5)
        sys.stdout.write(json.dumps(case, sort_keys=True) + '\n')


main()
