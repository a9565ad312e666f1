#!/usr/bin/env python3
"""The labelled cases of migrations/kb/cases are what FORM.md says: one JSON object a line, known keys, unique ids and texts, labels that the
taxonomies have.  usage: kb_cases.py SOURCE_ROOT"""
import glob, json, os, re, sys

KEYS = {'id': str, 'platform': str, 'stage': str, 'tool': str, 'log': str, 'label': str, 'alternatives': list, 'weight': (int, float)}
NEEDED = ('id', 'platform', 'log', 'label')
PLATFORMS, STAGES = ('server', 'mobile', 'browser'), ('export', 'convert', 'verify')


def nodes(root):
    ids = set()
    for path in glob.glob(os.path.join(root, 'migrations/kb/taxonomy/*.yml')):
        ids |= set(re.findall(r'^\s*- \{id: ([a-z0-9/-]+)', open(path, encoding='utf-8').read(), re.M))
    return ids


def wrong(case, known):
    """What is wrong with one case, in words."""
    for k, v in case.items():
        if k not in KEYS: yield 'unknown key %r' % k
        elif not isinstance(v, KEYS[k]) or isinstance(v, bool): yield '%s has the wrong type' % k
    for k in NEEDED:
        if not case.get(k): yield '%s is missing' % k
    if case.get('platform') not in PLATFORMS: yield 'platform is one of %s' % ', '.join(PLATFORMS)
    if case.get('stage', 'export') not in STAGES: yield 'stage is one of %s' % ', '.join(STAGES)
    if not re.fullmatch(r'own-[a-z0-9][a-z0-9-]*', str(case.get('id'))): yield 'the id is own- and a slug'
    if not 0 < case.get('weight', 1) <= 1: yield 'the weight is above 0 and at most 1'
    alternatives = case.get('alternatives') or []
    if len(alternatives) > 4: yield 'more than four alternatives: it speaks for nothing'
    for label in [case.get('label')] + list(alternatives):
        if label not in known: yield 'no taxonomy has the node %r' % label
        elif label.split('/')[0] in PLATFORMS and label.split('/')[0] != case.get('platform'): yield '%s is not a node of platform %s' % (label, case.get('platform'))
    if len(str(case.get('log')).encode()) > 16384: yield 'the text is longer than 16 KiB'


def main():
    root = sys.argv[1]
    known, ids, texts, problems, n = nodes(root), {}, {}, [], 0
    for path in sorted(glob.glob(os.path.join(root, 'migrations/kb/cases/*.jsonl'))):
        for number, line in enumerate(open(path, encoding='utf-8'), 1):
            at = '%s:%d' % (os.path.relpath(path, root), number)
            try:
                case = json.loads(line)
            except ValueError as e:
                problems.append('%s: no JSON: %s' % (at, e))
                continue
            n += 1
            problems += ['%s: %s: %s' % (at, case.get('id'), w) for w in wrong(case, known)]
            for name, seen in (('id', ids), ('log', texts)):
                if case.get(name) in seen: problems.append('%s: %s: the same %s as %s' % (at, case.get('id'), name, seen[case.get(name)]))
                seen[case.get(name)] = at
    if len(known) < 100: problems.append('only %d nodes found in migrations/kb/taxonomy: has their form changed?' % len(known))
    if not n: problems.append('no case found below migrations/kb/cases')
    print('\n'.join(problems) or '%d cases are in order' % n)
    return bool(problems)


if __name__ == '__main__':
    sys.exit(main())
