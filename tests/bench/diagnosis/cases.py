#!/usr/bin/env python3
"""The labelled cases that the tree itself holds, one JSON object a line: fixtures of the indicators whose header says what to expect, and the
cases written by hand in migrations/kb/cases/. For `portolan-kb train`.  usage: cases.py [--plain] [--posts DIR] > cases.jsonl
--plain: without the twins among harmless lines. --posts DIR: with the questions of posts.tsv too, whose texts are in the files dl_server_post.txt,
dl_mobile_post.txt and dl_browser_post.txt somewhere below DIR (the public data set of Chen et al. 2020)."""
import glob, hashlib, html, json, os, random, re, sys

POST_WEIGHT = {'1': 0.4, '2': 0.7, '3': 1.0}
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


def plain_text(body):
    """Of a post's HTML."""
    body = re.sub(r'<[^>]+>', '', re.sub(r'<pre[^>]*>|</p>|<br ?/?>|</pre>|</li>', '\n', body))
    return html.unescape(re.sub(r'\n\s*\n+', '\n', body)).strip()


SPEAKS = re.compile(r'Error\b|Exception\b|error:|ERROR|Traceback|FATAL|[Ff]ailed|[Cc]annot |[Cc]an.t |[Cc]ould not|not found|undefined (?:symbol|reference)|[Uu]nsupported|[Ii]nvalid|Check failed')
SOURCE = re.compile(r'^\s*(?:import [\w.]+;?$|from \S+ import |#include|#import|def \w+\(|class \w+|func \w+|public |private |var \w+ ?[:=]|let \w+ ?[:=]|const \w+ ?=|function ?\w*\(|@Override|<script|package |return\b)', re.M)


def printed(body):
    """What a program printed, of a post's HTML: its blocks of code that speak of a failure and are no source text."""
    blocks = [html.unescape(re.sub(r'<[^>]+>', '', b)).strip('\n') for b in re.findall(r'<pre[^>]*>(.*?)</pre>', body, re.S)]
    return '\n'.join(b for b in blocks if SPEAKS.search(b) and len(SOURCE.findall(b)) < 2)[:6000]


def read_posts(top):
    labels = {}
    for l in open(os.path.join(ROOT, 'tests/bench/diagnosis/posts.tsv'), encoding='utf-8'):
        if not l.startswith('#'):
            number, label, second, confidence = l.rstrip('\n').split('\t')
            if label != 'none': labels[(number, label.split('/')[0])] = (label, second, confidence)
    for platform in ('browser', 'mobile', 'server'):
        for path in sorted(glob.glob(os.path.join(top, '**', 'dl_%s_post.txt' % platform), recursive=True)):
            for l in open(path, encoding='utf-8'):
                post = json.loads(l) if l.strip() else {}
                label, second, confidence = labels.pop((str(post.get('Id')), platform), (None, None, None))
                if label:
                    case = dict(id='read-' + post['Id'], platform=platform, label=label, alternatives=[] if second in ('-', 'none') else [second], weight=POST_WEIGHT[confidence])
                    yield dict(case, title=post['Title'], body=plain_text(post['Body']))
                    log = printed(post['Body'])
                    if log: yield dict(case, log=log, weight=case['weight'] * 0.7)
    if labels: sys.stderr.write('cases.py: %d questions of posts.tsv are not below %s\n' % (len(labels), top))


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
    if '--posts' in sys.argv:
        for case in read_posts(sys.argv[sys.argv.index('--posts') + 1]): sys.stdout.write(json.dumps(case, sort_keys=True) + '\n')


main()
