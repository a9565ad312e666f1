/* template.c - masks what differs between two failures of the same kind. One pass from left to right over
 * tokens; no pattern engine, because a line is looked at once for each diagnosis and the rules have to be the
 * same for ever: fingerprints are stored. */
#include "template.h"
#include <ctype.h>
#include <portolan/buf.h>
#include <stdio.h>
#include <strings.h>

#define N "<n>"

struct masking {
    const char *p, *end, *start;
    struct ptl_buf out;
    bool words; /* something that is no mask was written */
};

static bool at(const struct masking *m, const char *p, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(m->end - p) >= n && memcmp(p, text, n) == 0;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Lists are one number however long they are: <n>, <n> x <n> */
static bool joins_number(const struct masking *m)
{
    const char *text = ptl_buf_str(&m->out);
    size_t n = m->out.len;
    while (n > 0 && strchr(" ,;:x*/-+[(", text[n - 1]))
        n--;
    return n >= 3 && n < m->out.len && m->out.len - n <= 3 && memcmp(text + n - 3, N, 3) == 0;
}

static void put_mask(struct masking *m, const char *mask)
{
    if (strcmp(mask, N) == 0 && joins_number(m)) {
        const char *text = ptl_buf_str(&m->out);
        size_t n = m->out.len;
        while (memcmp(text + n - 3, N, 3) != 0)
            n--;
        m->out.len = n;
        m->out.data[n] = 0;
        return;
    }
    ptl_buf_puts(&m->out, mask);
}

static void put(struct masking *m, const char *p, size_t n)
{
    for (size_t i = 0; i < n && !m->words; i++)
        m->words = isalpha((unsigned char)p[i]) || (unsigned char)p[i] >= 0x80;
    ptl_buf_add(&m->out, p, n);
}

/* ---- what begins here? Each gives the length of its token, 0: not this. */
static size_t url_len(const struct masking *m)
{
    const char *p = m->p;
    while (p < m->end && (isalpha((unsigned char)*p) || (p > m->p && strchr("+.-", *p))))
        p++;
    if (p == m->p || !at(m, p, "://"))
        return 0;
    while (p < m->end && (unsigned char)*p > ' ' && !strchr("'\"`<>)]},", *p))
        p++;
    while (p > m->p && strchr(".:;", p[-1]))
        p--;
    return (size_t)(p - m->p);
}

/* Quotation marks: ASCII ones that begin a word and are closed on the line, and the typographic pairs. */
static size_t quote_len(const struct masking *m)
{
    static const char *const pairs[][2] = {
        {"\xe2\x80\x98", "\xe2\x80\x99"},
        {"\xe2\x80\x9c", "\xe2\x80\x9d"}
    };
    enum { QUOTE_MAX = 200 };
    const char *p = m->p;
    for (size_t i = 0; i < PTL_ARRAY_LEN(pairs); i++)
        if (at(m, p, pairs[i][0]))
            for (const char *q = p + 3; q < m->end && q - p < QUOTE_MAX; q++)
                if (at(m, q, pairs[i][1]))
                    return (size_t)(q + 3 - p);
    if (!strchr("'\"`", *p) || (p > m->start && is_word(p[-1])))
        return 0;
    char close = *p;
    for (const char *q = p + 1; q < m->end && q - p < QUOTE_MAX; q++) {
        bool ends = *q == close || (close == '`' && *q == '\''); /* `name' as old GNU programs quote */
        if (ends && q > p + 1 && (q + 1 == m->end || !is_word(q[1])))
            return (size_t)(q + 1 - p);
        if (ends && q == p + 1)
            return 2; /* empty */
    }
    return 0;
}

static bool has_extension(const char *p, size_t n)
{
    static const char *const known[] = {
        "py",        "pb",   "pbtxt", "onnx", "tflite", "h5",   "hdf5",    "keras",       "pt",   "pth",
        "ckpt",      "json", "bin",   "so",   "dll",    "c",    "cc",      "cpp",         "cu",   "h",
        "hpp",       "js",   "mjs",   "ts",   "css",    "html", "npy",     "npz",         "txt",  "yml",
        "yaml",      "toml", "cfg",   "ini",  "sh",     "log",  "whl",     "zip",         "tar",  "gz",
        "xz",        "tgz",  "java",  "kt",   "swift",  "m",    "mm",      "wasm",        "xml",  "csv",
        "png",       "jpg",  "jpeg",  "md",   "rs",     "go",   "mlmodel", "safetensors", "plan", "engine",
        "mlpackage", "aar",  "apk",   "jar",  "pyc",    "pkl",  "data",    "lock",        "ort",  "pte",
        "dylib",     "a",    "o"};
    const char *dot = memrchr(p, '.', n);
    if (!dot || dot == p)
        return false;
    size_t len = (size_t)(p + n - dot - 1);
    for (size_t i = 0; i < PTL_ARRAY_LEN(known); i++)
        if (strlen(known[i]) == len && strncasecmp(dot + 1, known[i], len) == 0)
            return true;
    return false;
}

static bool is_path_char(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || strchr("_-.+@~/\\%=", c);
}

static size_t path_len(const struct masking *m)
{
    const char *p = m->p;
    size_t slashes = 0;
    if (p > m->start && (is_word(p[-1]) || strchr("./\\-~@", p[-1])))
        return 0; /* in the middle of something */
    bool drive = m->end - p > 2 && isalpha((unsigned char)p[0]) && p[1] == ':' && p[2] == '\\';
    if (drive)
        p += 2;
    const char *q = p;
    for (; q < m->end && *q && is_path_char(*q); q++)
        slashes += *q == '/' || *q == '\\';
    while (q > p && strchr(".=-+%", q[-1])) /* the end of a sentence, not of a name */
        q--;
    size_t n = (size_t)(q - p);
    if (n < 2)
        return 0;
    bool rooted = drive || *p == '/' || at(m, p, "./") || at(m, p, "../") || at(m, p, "~/");
    bool alone = slashes == n;
    /* One slash alone is prose ("and/or", "TF/Keras") or an operator's scope: no path. */
    if (!alone && ((rooted && slashes) || slashes > 1 || has_extension(p, n)))
        return (size_t)(q - m->p);
    return 0;
}

static size_t hex_len(const struct masking *m)
{
    static const int uuid[] = {8, 4, 4, 4, 12};
    const char *p = m->p;
    if (at(m, p, "0x") || at(m, p, "0X")) {
        for (p += 2; p < m->end && isxdigit((unsigned char)*p); p++)
            ;
        return p - m->p > 2 && (p == m->end || !is_word(*p)) ? (size_t)(p - m->p) : 0;
    }
    const char *q = p;
    size_t part = 0;
    for (; part < PTL_ARRAY_LEN(uuid); part++) {
        int k = 0;
        while (k < uuid[part] && q < m->end && isxdigit((unsigned char)*q))
            q++, k++;
        if (k < uuid[part] || (part < 4 && (q == m->end || *q != '-')))
            break;
        q += part < 4;
    }
    if (part == PTL_ARRAY_LEN(uuid) && (q == m->end || !is_word(*q)))
        return (size_t)(q - p);
    size_t digits = 0, letters = 0;
    for (q = p; q < m->end && isxdigit((unsigned char)*q); q++)
        *(isdigit((unsigned char)*q) ? &digits : &letters) += 1;
    if (q < m->end && is_word(*q))
        return 0;
    return digits && letters && digits + letters >= 8 ? (size_t)(q - p) : 0;
}

/* What begins with a digit (or a sign and a digit): numbers, versions, times, dates, sizes with their unit,
 * "3x3", "2D". */
static size_t number_len(const struct masking *m)
{
    const char *p = m->p;
    if ((*p == '-' || *p == '+') && m->end - p > 1 && isdigit((unsigned char)p[1]))
        p++;
    if ((*p == 'v' || *p == 'V') && m->end - p > 1 && isdigit((unsigned char)p[1]))
        p++;
    if (!isdigit((unsigned char)*p))
        return 0;
    for (p++; p < m->end; p++) {
        bool more = p + 1 < m->end && isdigit((unsigned char)p[1]),
             letter = p + 1 < m->end && isalnum((unsigned char)p[1]);
        if (isalnum((unsigned char)*p) || (*p == '.' && letter) || (*p == '+' && letter) ||
            (strchr(":-/", *p) && more) || (*p == '-' && strchr("eE", p[-1]) && more))
            continue;
        break;
    }
    if (p < m->end && *p == '%')
        p++;
    return (size_t)(p - m->p);
}

/* ---- the tokens */
/* Names that tools number: dense_3, node-17, W0000; but int8, float32, Conv2D and relu6 are what they are. */
static void put_name(struct masking *m)
{
    const char *p = m->p;
    while (p < m->end && is_word(*p)) {
        const char *q = p;
        if (!isdigit((unsigned char)*p)) {
            while (q < m->end && is_word(*q) && !isdigit((unsigned char)*q))
                q++;
            put(m, p, (size_t)(q - p));
        } else {
            while (q < m->end && isdigit((unsigned char)*q))
                q++;
            bool numbered = p > m->p && p[-1] == '_' && (q == m->end || *q == '_' || !is_word(*q));
            if (numbered || q - p > 3)
                ptl_buf_puts(&m->out, N);
            else
                put(m, p, (size_t)(q - p));
        }
        p = q;
    }
    m->p = p;
}

static bool is_time(const char *p, size_t n)
{
    size_t colons = 0, dashes = 0;
    for (size_t i = 0; i < n; i++) {
        colons += p[i] == ':';
        dashes += p[i] == '-' || p[i] == '/';
    }
    return colons > 1 || dashes > 1;
}

/* A date, a time or both, in brackets or not, in front of what is said. */
static void skip_time(struct masking *m)
{
    for (int i = 0; i < 2; i++) {
        const char *before = m->p;
        while (m->p < m->end && (*m->p == ' ' || *m->p == '['))
            m->p++;
        size_t n = m->p < m->end ? number_len(m) : 0;
        const char *q = m->p + n;
        if (!n || !is_time(m->p, n)) {
            m->p = before;
            return;
        }
        if (q + 1 < m->end && *q == ',' &&
            isdigit((unsigned char)q[1])) /* milliseconds as Python writes them */
            for (q++; q < m->end && isdigit((unsigned char)*q); q++)
                ;
        while (q < m->end && (*q == ']' || *q == ' ' || (*q == ':' && q + 1 < m->end && q[1] == ' ')))
            q++;
        m->p = q;
    }
}

static void step(struct masking *m)
{
    static const char *const masks[] = {N, "<q>", "<path>", "<url>", "<hex>"};
    char c = *m->p;
    size_t n;
    for (size_t i = 0; c == '<' && i < PTL_ARRAY_LEN(masks); i++)
        if (at(m, m->p, masks[i])) { /* masked already */
            put_mask(m, masks[i]);
            m->p += strlen(masks[i]);
            return;
        }
    if ((unsigned char)c <= ' ') {
        if (m->out.len && m->out.data[m->out.len - 1] != ' ')
            ptl_buf_putc(&m->out, ' ');
        m->p++;
        return;
    }
    static const struct {
        size_t (*len)(const struct masking *m);
        const char *mask;
    } kinds[] = {
        {url_len,    "<url>" },
        {quote_len,  "<q>"   },
        {hex_len,    "<hex>" },
        {path_len,   "<path>"},
        {number_len, N       },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(kinds); i++)
        if ((n = kinds[i].len(m)) > 0) {
            put_mask(m, kinds[i].mask);
            m->p += n;
            return;
        }
    if (is_word(c)) {
        put_name(m);
        return;
    }
    put(m, m->p, 1);
    m->p++;
}

char *ptl_kb_template(const char *line, size_t len)
{
    if (len > PTL_KB_TEMPLATE_LINE_MAX)
        len = PTL_KB_TEMPLATE_LINE_MAX;
    struct masking m = {
        .p = line, .start = line, .end = line + len, .out = PTL_BUF_MAX(4 * PTL_KB_TEMPLATE_LINE_MAX)};
    skip_time(&m);
    while (m.p < m.end && m.out.len < PTL_KB_TEMPLATE_MAX && !m.out.failed)
        step(&m);
    size_t n = m.out.len < PTL_KB_TEMPLATE_MAX ? m.out.len : PTL_KB_TEMPLATE_MAX;
    while (n > 0 && n < m.out.len && ((unsigned char)m.out.data[n] & 0xc0) == 0x80)
        n--; /* not within a character */
    while (n > 0 && m.out.data[n - 1] == ' ')
        n--;
    if (!m.words)
        n = 0;
    char *text = m.out.failed ? NULL : strndup(ptl_buf_str(&m.out), n);
    ptl_buf_done(&m.out);
    return text;
}

void ptl_kb_fingerprint(const char *const *templates, size_t n, char ret[PTL_KB_FINGERPRINT_HEX])
{
    uint64_t h =
        0xcbf29ce484222325u; /* FNV-1a: 64 bits are plenty for the kinds of failure of one organisation */
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (!templates[i] || !*templates[i])
            continue;
        any = true;
        for (const unsigned char *p = (const unsigned char *)templates[i];; p++) {
            h = (h ^ *p) * 0x100000001b3u; /* the ending NUL too: two templates are not one long one */
            if (!*p)
                break;
        }
    }
    ret[0] = 0;
    if (any)
        snprintf(ret, PTL_KB_FINGERPRINT_HEX, "%016llx", (unsigned long long)h);
}
