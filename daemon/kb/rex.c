/* rex.c - parser to a tree, tree to a program, program run by Pike's method: all threads of a position step
 * together, at most one thread an instruction, priorities by order. Any thread; no state outside the call. */
#include "rex.h"
#include <ctype.h>
#include <stdio.h>

enum node_kind { N_EMPTY, N_SET, N_CAT, N_ALT, N_REPEAT, N_GROUP, N_BOL, N_EOL, N_WORD, N_NOT_WORD };
struct node {
    enum node_kind kind;
    struct node *a, *b;
    uint32_t set[8];    /* N_SET */
    int single;         /* N_SET: the one byte it holds (lower case when caseless), else -1 */
    int min, max, lazy; /* N_REPEAT; max -1: without end */
    int group;          /* N_GROUP: number, 0: not captured */
    struct node *next_owned;
};

enum op { OP_SET, OP_SPLIT, OP_JUMP, OP_SAVE, OP_BOL, OP_EOL, OP_WORD, OP_NOT_WORD, OP_MATCH };
struct inst {
    enum op op;
    int x, y; /* SET: index of the set; SPLIT: first x, then y; JUMP: x; SAVE: slot x */
};

struct ptl_rex {
    struct inst *code;
    int n, cap;
    uint32_t (*sets)[8];
    int n_sets, cap_sets;
    int groups;
    char *names[PTL_REX_GROUPS_MAX + 1];
    int literal;
    bool ends_open;
};

struct parser {
    const char *start, *p;
    bool caseless;
    int depth, nodes, written; /* written: nodes that gen() came by */
    struct node *owned;
    struct ptl_rex *rex;
    struct ptl_error *err;
    bool failed;
};

static struct node *fail(struct parser *s, const char *what)
{
    if (!s->failed)
        ptl_error_set(s->err, -EINVAL, "at byte %d of the pattern: %s", (int)(s->p - s->start) + 1, what);
    s->failed = true;
    return NULL;
}

static struct node *node_new(struct parser *s, enum node_kind kind, struct node *a, struct node *b)
{
    if (s->failed)
        return NULL;
    struct node *n = calloc(1, sizeof(*n));
    if (!n || ++s->nodes > 4 * PTL_REX_PATTERN_MAX) {
        free(n);
        return fail(s, "too large");
    }
    *n = (struct node){.kind = kind, .a = a, .b = b, .single = -1, .next_owned = s->owned};
    s->owned = n;
    return n;
}

static void set_add(uint32_t *set, unsigned char c)
{
    set[c >> 5] |= 1u << (c & 31);
}
static bool set_has(const uint32_t *set, unsigned char c)
{
    return set[c >> 5] >> (c & 31) & 1;
}
static void set_invert(uint32_t *set)
{
    for (int i = 0; i < 8; i++)
        set[i] = ~set[i];
    set['\n' >> 5] &= ~(1u << ('\n' & 31)); /* lines are matched one by one */
}
static bool is_word(unsigned char c)
{
    return isalnum(c) || c == '_';
}

/* \d \w \s and their opposites; false: not a class. */
static bool set_class(uint32_t *set, char c)
{
    uint32_t s[8] = {0};
    for (int i = 0; i < 128; i++)
        if ((tolower(c) == 'd' && isdigit(i)) || (tolower(c) == 'w' && is_word((unsigned char)i)) ||
            (tolower(c) == 's' && isspace(i) && i != '\n'))
            set_add(s, (unsigned char)i);
    if (!c || !strchr("dwsDWS", c)) /* the pattern may end here, and strchr() finds that too */
        return false;
    if (isupper((unsigned char)c))
        set_invert(s);
    for (int i = 0; i < 8; i++)
        set[i] |= s[i];
    return true;
}

/* The byte that an escape stands for, or -1. s->p is behind the backslash and is moved on. */
static int escape(struct parser *s)
{
    char c = *s->p;
    if (c == 'x' && isxdigit((unsigned char)s->p[1]) && isxdigit((unsigned char)s->p[2])) {
        int v;
        if (sscanf(s->p + 1, "%2x", (unsigned *)&v) != 1 || v == 0 || v >= 128)
            return -1;
        s->p += 3;
        return v;
    }
    if (c == 't') {
        s->p++;
        return '\t';
    }
    if (c && ispunct((unsigned char)c)) {
        s->p++;
        return c;
    }
    return -1;
}

static void both_cases(uint32_t *set)
{
    for (int c = 'a'; c <= 'z'; c++)
        if (set_has(set, (unsigned char)c) || set_has(set, (unsigned char)toupper(c))) {
            set_add(set, (unsigned char)c);
            set_add(set, (unsigned char)toupper(c));
        }
}

static struct node *byte_node(struct parser *s, int c)
{
    struct node *n = node_new(s, N_SET, NULL, NULL);
    if (!n)
        return NULL;
    set_add(n->set, (unsigned char)c);
    if (s->caseless)
        both_cases(n->set);
    n->single = c;
    return n;
}

static struct node *parse_class(struct parser *s)
{
    struct node *n = node_new(s, N_SET, NULL, NULL);
    if (!n)
        return NULL;
    bool negative = *s->p == '^';
    s->p += negative;
    bool first = true;
    for (; *s->p && (*s->p != ']' || first); first = false) {
        int lo;
        if (*s->p == '[' && (s->p[1] == ':' || s->p[1] == '.' || s->p[1] == '='))
            return fail(s, "[:names:] are not read here; write \\d, \\w or a range");
        if (*s->p == '\\') {
            s->p++;
            if (set_class(n->set, *s->p)) {
                s->p++;
                continue;
            }
            if ((lo = escape(s)) < 0)
                return fail(s, "an escape that is not known in a class");
        } else {
            lo = (unsigned char)*s->p++;
        }
        int hi = lo;
        if (*s->p == '-' && s->p[1] && s->p[1] != ']') {
            s->p++;
            if (*s->p == '\\') {
                s->p++;
                hi = escape(s);
            } else {
                hi = (unsigned char)*s->p++;
            }
            if (hi < lo)
                return fail(s, "a range that runs backwards");
        }
        for (int c = lo; c <= hi; c++)
            set_add(n->set, (unsigned char)c);
    }
    if (*s->p != ']')
        return fail(s, "a class without its ]");
    s->p++;
    if (s->caseless)
        both_cases(n->set);
    if (negative)
        set_invert(n->set);
    return n;
}

static struct node *parse_alt(struct parser *s);

static struct node *parse_group(struct parser *s)
{
    int group = 0;
    if (s->p[0] == '?' && s->p[1] == ':') {
        s->p += 2;
    } else if (s->p[0] == '?' && s->p[1] == '<' && s->p[2] != '=' && s->p[2] != '!') {
        const char *name = s->p += 2;
        while (islower((unsigned char)*s->p) || isdigit((unsigned char)*s->p) || *s->p == '_')
            s->p++;
        size_t n = (size_t)(s->p - name);
        if (n == 0 || n > 32 || !islower((unsigned char)*name) || *s->p != '>')
            return fail(s, "a group's name is 1 to 32 of a-z, 0-9 and _, and begins with a letter");
        if (s->rex->groups == PTL_REX_GROUPS_MAX)
            return fail(s, "too many groups");
        group = ++s->rex->groups;
        s->rex->names[group] = strndup(name, n);
        for (int i = 1; i < group; i++)
            if (ptl_str_eq(s->rex->names[i], s->rex->names[group]))
                return fail(s, "two groups of one name");
        s->p++;
    } else if (s->p[0] == '?') {
        return fail(s, "only ( ), (?: ) and (?<name> ) are read here");
    }
    /* A plain ( ) only groups: what is wanted has a name. */
    struct node *in = parse_alt(s);
    if (s->failed)
        return NULL;
    if (*s->p != ')')
        return fail(s, "a group without its )");
    s->p++;
    struct node *n = node_new(s, N_GROUP, in, NULL);
    if (n)
        n->group = group;
    return n;
}

static struct node *parse_atom(struct parser *s)
{
    unsigned char c = (unsigned char)*s->p;
    struct node *n;
    if (c >= 128)
        return fail(s, "only ASCII; write . or .{1,4} for other characters");
    switch (c) {
    case '(':
        s->p++;
        return parse_group(s);
    case '[':
        s->p++;
        return parse_class(s);
    case '.':
        s->p++;
        if ((n = node_new(s, N_SET, NULL, NULL)))
            set_invert(n->set);
        return n;
    case '^':
        s->p++;
        return node_new(s, N_BOL, NULL, NULL);
    case '$':
        s->p++;
        return node_new(s, N_EOL, NULL, NULL);
    case '*':
    case '+':
    case '?':
    case '{':
        return fail(s, "nothing to repeat (write \\{ for a brace)");
    case '\\':
        s->p++;
        if (*s->p == 'b' || *s->p == 'B')
            return node_new(s, *s->p++ == 'b' ? N_WORD : N_NOT_WORD, NULL, NULL);
        if (*s->p && strchr("dwsDWS", *s->p)) {
            if ((n = node_new(s, N_SET, NULL, NULL)))
                set_class(n->set, *s->p++);
            return n;
        }
        int e = escape(s);
        return e < 0 ? fail(s, "an escape that is not known here") : byte_node(s, e);
    default:
        s->p++;
        return byte_node(s, c);
    }
}

static bool parse_bounds(struct parser *s, int *min, int *max)
{
    char *end;
    if (!isdigit((unsigned char)s->p[1]))
        return false;
    *min = (int)strtol(s->p + 1, &end, 10);
    *max = *min;
    if (*end == ',') {
        *max = end[1] == '}' ? -1 : (int)strtol(end + 1, &end, 10);
        if (*max == -1)
            end++;
    }
    if (*end != '}' || *min > PTL_REX_REPEAT_MAX || *max > PTL_REX_REPEAT_MAX || (*max >= 0 && *max < *min))
        return false;
    s->p = end + 1;
    return true;
}

static struct node *parse_repeat(struct parser *s)
{
    struct node *n = parse_atom(s);
    while (n && *s->p && strchr("*+?{", *s->p)) {
        int min = 0, max = -1;
        if (n->kind == N_REPEAT)
            return fail(s, "a repeat of a repeat");
        if (n->kind >= N_BOL)
            return fail(s, "a place cannot be repeated");
        if (*s->p == '{') {
            if (!parse_bounds(s, &min, &max))
                return fail(s, "a repeat is {n}, {n,} or {n,m}, at most 255");
        } else {
            min = *s->p == '+';
            max = *s->p == '?' ? 1 : -1;
            s->p++;
        }
        n = node_new(s, N_REPEAT, n, NULL);
        if (!n)
            return NULL;
        n->min = min;
        n->max = max;
        if (*s->p == '?') {
            n->lazy = 1;
            s->p++;
        } else if (*s->p == '+') {
            return fail(s, "possessive repeats are not read here");
        }
    }
    return n;
}

static struct node *parse_cat(struct parser *s)
{
    struct node *n = NULL;
    while (!s->failed && *s->p && *s->p != '|' && *s->p != ')') {
        struct node *b = parse_repeat(s);
        n = n ? node_new(s, N_CAT, n, b) : b;
    }
    return n ? n : node_new(s, N_EMPTY, NULL, NULL);
}

static struct node *parse_alt(struct parser *s)
{
    if (++s->depth > 50)
        return fail(s, "groups nested too deeply");
    struct node *n = parse_cat(s);
    while (!s->failed && *s->p == '|') {
        s->p++;
        struct node *b = parse_cat(s);
        n = node_new(s, N_ALT, n, b);
    }
    s->depth--;
    return n;
}

/* ---- what the rules ask: the longest literal run of every match */
struct runs {
    int best, now;
};
static void literal_runs(const struct node *n, struct runs *r)
{
    struct runs x, y;
    switch (n->kind) {
    case N_SET:
        r->now = n->single >= 0 ? r->now + 1 : 0;
        break;
    case N_CAT:
        literal_runs(n->a, r);
        literal_runs(n->b, r);
        break;
    case N_GROUP:
        literal_runs(n->a, r);
        break;
    case N_ALT:
        x = y = (struct runs){0, 0};
        literal_runs(n->a, &x);
        literal_runs(n->b, &y);
        r->now = 0;
        x.best = x.best < y.best ? x.best : y.best;
        r->best = r->best > x.best ? r->best : x.best;
        break;
    case N_REPEAT:
        x = (struct runs){0, 0};
        if (n->min > 0)
            literal_runs(n->a, &x);
        r->best = r->best > x.best ? r->best : x.best;
        r->now = 0;
        break;
    default:
        break;
    }
    if (r->now > r->best)
        r->best = r->now;
}

static bool open_end(const struct node *n)
{
    switch (n->kind) {
    case N_CAT:
        return open_end(n->b);
    case N_GROUP:
        return open_end(n->a);
    case N_ALT:
        return open_end(n->a) || open_end(n->b);
    case N_REPEAT:
        if (n->max >= 0 || n->a->kind != N_SET)
            return n->max < 0;
        int bytes = 0;
        for (int c = 0; c < 256; c++)
            bytes += set_has(n->a->set, (unsigned char)c);
        return bytes > 200; /* .* and [^x]*; \d+ is a bounded thing in practice */
    default:
        return false;
    }
}

/* ---- program */
static int emit(struct parser *s, enum op op, int x, int y)
{
    struct ptl_rex *r = s->rex;
    if (r->n == PTL_REX_STEPS_MAX) {
        fail(s, "too large once its repeats are written out");
        return 0;
    }
    if (r->n == r->cap) {
        int cap = r->cap ? 2 * r->cap : 64;
        struct inst *code = realloc(r->code, (size_t)cap * sizeof(*code));
        if (!code) {
            fail(s, "out of memory");
            return 0;
        }
        r->code = code;
        r->cap = cap;
    }
    r->code[r->n] = (struct inst){op, x, y};
    return r->n++;
}

static int put_set(struct parser *s, const uint32_t *set)
{
    struct ptl_rex *r = s->rex;
    for (int i = 0; i < r->n_sets; i++)
        if (memcmp(r->sets[i], set, sizeof(r->sets[i])) == 0)
            return i;
    if (r->n_sets == r->cap_sets) {
        int cap = r->cap_sets ? 2 * r->cap_sets : 32;
        void *sets = realloc(r->sets, (size_t)cap * sizeof(*r->sets));
        if (!sets) {
            fail(s, "out of memory");
            return 0;
        }
        r->sets = sets;
        r->cap_sets = cap;
    }
    memcpy(r->sets[r->n_sets], set, sizeof(r->sets[0]));
    return r->n_sets++;
}

static void gen(struct parser *s, const struct node *n);

/* SPLIT that prefers to go on (greedy) or to leave (lazy); the target to leave to is patched later. */
static void patch(struct parser *s, int at, bool lazy, int stay, int leave)
{
    s->rex->code[at].x = lazy ? leave : stay;
    s->rex->code[at].y = lazy ? stay : leave;
}

static void gen_repeat(struct parser *s, const struct node *n)
{
    for (int i = 0; i < n->min && !s->failed; i++)
        gen(s, n->a);
    if (n->max < 0) {
        int split = emit(s, OP_SPLIT, 0, 0);
        gen(s, n->a);
        emit(s, OP_JUMP, split, 0);
        if (!s->failed)
            patch(s, split, n->lazy, split + 1, s->rex->n);
        return;
    }
    int count = n->max - n->min;
    int *splits = calloc((size_t)count + 1, sizeof(*splits));
    if (!splits) {
        fail(s, "out of memory");
        return;
    }
    for (int i = 0; i < count && !s->failed; i++) {
        splits[i] = emit(s, OP_SPLIT, 0, 0);
        gen(s, n->a);
    }
    for (int i = 0; i < count && !s->failed; i++)
        patch(s, splits[i], n->lazy, splits[i] + 1, s->rex->n);
    free(splits);
}

static void gen(struct parser *s, const struct node *n)
{
    int split, jump;
    if (s->failed)
        return;
    /* What writes no instruction is counted too: ((((){255}){255}){255}){255} would be written for hours. */
    if (++s->written > 10 * PTL_REX_STEPS_MAX) {
        fail(s, "too large once its repeats are written out");
        return;
    }
    switch (n->kind) {
    case N_EMPTY:
        break;
    case N_SET:
        emit(s, OP_SET, put_set(s, n->set), 0);
        break;
    case N_CAT:
        gen(s, n->a);
        gen(s, n->b);
        break;
    case N_ALT:
        split = emit(s, OP_SPLIT, 0, 0);
        gen(s, n->a);
        jump = emit(s, OP_JUMP, 0, 0);
        if (s->failed)
            return;
        patch(s, split, false, split + 1, s->rex->n);
        gen(s, n->b);
        s->rex->code[jump].x = s->rex->n;
        break;
    case N_REPEAT:
        gen_repeat(s, n);
        break;
    case N_GROUP:
        if (n->group)
            emit(s, OP_SAVE, 2 * n->group, 0);
        gen(s, n->a);
        if (n->group)
            emit(s, OP_SAVE, 2 * n->group + 1, 0);
        break;
    case N_BOL:
        emit(s, OP_BOL, 0, 0);
        break;
    case N_EOL:
        emit(s, OP_EOL, 0, 0);
        break;
    case N_WORD:
        emit(s, OP_WORD, 0, 0);
        break;
    case N_NOT_WORD:
        emit(s, OP_NOT_WORD, 0, 0);
        break;
    }
}

int ptl_rex_new(const char *pattern, bool caseless, struct ptl_rex **ret, struct ptl_error *err)
{
    if (strlen(pattern) > PTL_REX_PATTERN_MAX || !*pattern)
        return ptl_error_set(err, -EINVAL, "a pattern has 1 to %d bytes", PTL_REX_PATTERN_MAX);
    struct ptl_rex *r = calloc(1, sizeof(*r));
    if (!r)
        return ptl_error_set(err, -ENOMEM, "pattern: out of memory");
    struct parser s = {.start = pattern, .p = pattern, .caseless = caseless, .rex = r, .err = err};
    struct node *n = parse_alt(&s);
    if (!s.failed && *s.p)
        fail(&s, "a ) without its (");
    if (!s.failed) {
        struct runs runs = {0, 0};
        literal_runs(n, &runs);
        r->literal = runs.best;
        r->ends_open = open_end(n);
        gen(&s, n);
        emit(&s, OP_MATCH, 0, 0);
    }
    for (struct node *next; s.owned; s.owned = next) {
        next = s.owned->next_owned;
        free(s.owned);
    }
    if (s.failed) {
        ptl_rex_free(r);
        return -EINVAL;
    }
    *ret = r;
    return 0;
}

struct ptl_rex *ptl_rex_free(struct ptl_rex *r)
{
    if (r) {
        for (int i = 1; i <= r->groups; i++)
            free(r->names[i]);
        free(r->code);
        free(r->sets);
        free(r);
    }
    return NULL;
}

int ptl_rex_groups(const struct ptl_rex *r)
{
    return r->groups;
}
const char *ptl_rex_group_name(const struct ptl_rex *r, int i)
{
    return i >= 1 && i <= r->groups ? r->names[i] : NULL;
}
int ptl_rex_literal(const struct ptl_rex *r)
{
    return r->literal;
}
bool ptl_rex_ends_open(const struct ptl_rex *r)
{
    return r->ends_open;
}

/* ---- Pike's machine */
struct threads {
    int *dense, *sparse; /* instruction numbers in order of priority; where each stands */
    int *caps;           /* slots of each thread, by instruction */
    int n;
};
struct machine {
    const struct ptl_rex *r;
    const char *text;
    int len, slots;
    struct {
        int pc, slot, old; /* slot >= 0: put `old` back */
    } * stack;
};

static bool at_word_edge(const struct machine *m, int at)
{
    bool before = at > 0 && is_word((unsigned char)m->text[at - 1]);
    bool after = at < m->len && is_word((unsigned char)m->text[at]);
    return before != after;
}

/* Follows everything that reads no byte. The stack holds at most two entries an instruction. */
static void add_thread(struct machine *m, struct threads *t, int pc0, int at, int *caps)
{
    int top = 0;
    m->stack[top].pc = pc0;
    m->stack[top++].slot = -1;
    while (top > 0) {
        top--;
        if (m->stack[top].slot >= 0) {
            caps[m->stack[top].slot] = m->stack[top].old;
            continue;
        }
        int pc = m->stack[top].pc;
        if (t->sparse[pc] < t->n && t->dense[t->sparse[pc]] == pc)
            continue;
        t->sparse[pc] = t->n;
        t->dense[t->n++] = pc;
        const struct inst *i = &m->r->code[pc];
        int next = -1;
        switch (i->op) {
        case OP_JUMP:
            next = i->x;
            break;
        case OP_SPLIT:
            m->stack[top].pc = i->y;
            m->stack[top++].slot = -1;
            next = i->x;
            break;
        case OP_SAVE:
            m->stack[top].slot = i->x;
            m->stack[top++].old = caps[i->x];
            caps[i->x] = at;
            next = pc + 1;
            break;
        case OP_BOL:
            next = at == 0 ? pc + 1 : -1;
            break;
        case OP_EOL:
            next = at == m->len ? pc + 1 : -1;
            break;
        case OP_WORD:
            next = at_word_edge(m, at) ? pc + 1 : -1;
            break;
        case OP_NOT_WORD:
            next = !at_word_edge(m, at) ? pc + 1 : -1;
            break;
        case OP_SET:
        case OP_MATCH:
            memcpy(t->caps + (size_t)pc * (size_t)m->slots, caps, (size_t)m->slots * sizeof(int));
            break;
        }
        if (next >= 0) {
            m->stack[top].pc = next;
            m->stack[top++].slot = -1;
        }
    }
}

int ptl_rex_match(const struct ptl_rex *r, const char *text, size_t len, struct ptl_rex_span *ret)
{
    struct machine m = {.r = r, .text = text, .len = (int)len, .slots = 2 * (r->groups + 1)};
    size_t n = (size_t)r->n, slots = (size_t)m.slots;
    if (len > 1 << 20)
        return 0;
    int *mem = calloc(4 * n + 2 * n * slots + 2 * slots, sizeof(int));
    m.stack = malloc((2 * n + 2) * sizeof(*m.stack));
    if (!mem || !m.stack) {
        free(mem);
        free(m.stack);
        return -ENOMEM;
    }
    struct threads a = {mem, mem + n, mem + 4 * n, 0},
                   b = {mem + 2 * n, mem + 3 * n, mem + 4 * n + n * slots, 0};
    struct threads *now = &a, *next = &b;
    int *caps = mem + 4 * n + 2 * n * slots, *found = caps + slots;
    int matched = 0;
    for (int at = 0; at <= m.len; at++) {
        if (!matched) {
            for (size_t i = 0; i < slots; i++)
                caps[i] = -1;
            caps[0] = at;
            add_thread(&m, now, 0, at, caps);
        }
        if (now->n == 0)
            break;
        next->n = 0;
        for (int k = 0; k < now->n; k++) {
            int pc = now->dense[k];
            const struct inst *i = &r->code[pc];
            int *own = now->caps + (size_t)pc * slots;
            if (i->op == OP_MATCH) {
                memcpy(found, own, slots * sizeof(int));
                found[1] = at;
                matched = 1;
                break; /* threads of lower priority are cut off */
            }
            if (i->op == OP_SET && at < m.len && set_has(r->sets[i->x], (unsigned char)text[at])) {
                memcpy(caps, own, slots * sizeof(int));
                add_thread(&m, next, pc + 1, at + 1, caps);
            }
        }
        struct threads *swap = now;
        now = next;
        next = swap;
        next->n = 0;
    }
    if (matched)
        for (int i = 0; i <= r->groups; i++)
            ret[i] = (struct ptl_rex_span){found[2 * i], found[2 * i + 1]};
    free(mem);
    free(m.stack);
    return matched;
}
