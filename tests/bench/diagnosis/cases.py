#!/usr/bin/env python3
"""The labelled cases that the tree itself holds, one JSON object a line: fixtures of the indicators whose header says what to expect, and the
cases written by hand in migrations/kb/cases/. For `portolan-kb train`.  usage: cases.py > cases.jsonl"""
import json, os, sys

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


for case in list(fixtures()) + list(by_hand()):
    sys.stdout.write(json.dumps(case, sort_keys=True) + '\n')
