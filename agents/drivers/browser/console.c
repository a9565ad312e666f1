/* console.c - collects and judges what a page says. One mutex over everything; no line is longer than
 * MAX_LINE, the log has a byte budget, lists have bounds, and each cut is told. */
#include "console.h"

#include <portolan/buf.h>
#include <portolan/fs.h>
#include <portolan/json.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

enum { MAX_LINE = 4000, MAX_ERRORS = 50, MAX_WARNINGS = 100 };

struct ptl_console {
    pthread_mutex_t lock;
    int log_fd;
    size_t log_left;
    unsigned left_out, repeated;
    char *base_url;
    const char *token; /* its last part with the slash, inside of base_url; or NULL */
    json_t *errors;
    unsigned more_errors;
    json_t *warnings;
    char *network_cause;
    char *phase;
};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

const char *ptl_console_level_name(enum ptl_console_level level)
{
    return level_names[level];
}

/* ---- judging ---- */

static const struct said {
    const char *prefix, *anywhere; /* one of both */
    enum ptl_console_level level;
} said[] = {
    {"ERROR:",   NULL,             PTL_CONSOLE_ERROR  },
    {"FATAL:",   NULL,             PTL_CONSOLE_ERROR  },
    {"WARNING:", NULL,             PTL_CONSOLE_WARNING},
    {"INFO:",    NULL,             PTL_CONSOLE_INFO   },
    {"VERBOSE:", NULL,             PTL_CONSOLE_DEBUG  },
    {"DEBUG:",   NULL,             PTL_CONSOLE_DEBUG  },
    {NULL,       "[F:onnxruntime", PTL_CONSOLE_ERROR  },
    {NULL,       "[E:onnxruntime", PTL_CONSOLE_ERROR  },
    {NULL,       "[W:onnxruntime", PTL_CONSOLE_WARNING},
    {NULL,       "[I:onnxruntime", PTL_CONSOLE_INFO   },
    {NULL,       "[V:onnxruntime", PTL_CONSOLE_DEBUG  },
};

/* "E0000 00:00:17.1 …", "W1123 07:01:02 …": the C++ logging libraries of Google. */
static bool glog_level(const char *s, enum ptl_console_level *ret)
{
    static const char letters[] = "IWEF";
    const char *l = *s ? strchr(letters, *s) : NULL;
    if (!l || strspn(s + 1, "0123456789") != 4 || s[5] != ' ')
        return false;
    *ret = *l == 'I' ? PTL_CONSOLE_INFO : *l == 'W' ? PTL_CONSOLE_WARNING : PTL_CONSOLE_ERROR;
    return true;
}

static enum ptl_console_level named_level(const char *level)
{
    if (strcasecmp(level, "severe") == 0 || strcasecmp(level, "error") == 0 ||
        strcasecmp(level, "assert") == 0)
        return PTL_CONSOLE_ERROR;
    if (strncasecmp(level, "warn", 4) == 0)
        return PTL_CONSOLE_WARNING;
    if (strcasecmp(level, "debug") == 0 || strncasecmp(level, "fine", 4) == 0 ||
        strcasecmp(level, "trace") == 0)
        return PTL_CONSOLE_DEBUG;
    return PTL_CONSOLE_INFO;
}

/* WebDriver gives console lines as `URL LINE:COLUMN "text"`: what a runtime says begins behind the quote. */
static const char *own_words(const char *text)
{
    const char *quote = strchr(text, '"'), *scheme = strstr(text, "://");
    const char *p = quote && scheme && scheme < quote ? quote + 1 : text;
    for (;;) {
        if (p[0] == 033 && p[1] == '[') { /* colours */
            p += 2;
            p += strspn(p, "0123456789;");
            p += *p != 0;
        } else if (strncmp(p, "\\u001b[", 7) == 0) {
            p += 7;
            p += strspn(p, "0123456789;");
            p += *p != 0;
        } else if (*p == ' ' || *p == '\t') {
            p++;
        } else {
            return p;
        }
    }
}

enum ptl_console_level ptl_console_judge(const char *level, const char *text)
{
    const char *words = own_words(text);
    enum ptl_console_level own;
    if (glog_level(words, &own))
        return own;
    for (size_t i = 0; i < PTL_ARRAY_LEN(said); i++)
        if (said[i].prefix ? ptl_str_starts(words, said[i].prefix) : strstr(words, said[i].anywhere) != NULL)
            return said[i].level;
    return named_level(level);
}

/* ---- collecting; the lock is held ---- */

static void write_line(struct ptl_console *c, const char *line, size_t len)
{
    if (c->log_fd < 0)
        return;
    if (len > c->log_left) {
        c->left_out++;
        return;
    }
    c->log_left -= len;
    if (ptl_fs_write_all(c->log_fd, line, len) < 0)
        c->left_out++;
}

/* One printable line: the page server's address cut out, line breaks as " | ", control bytes dropped,
 * bounded. */
static void tidy(const struct ptl_console *c, const char *text, struct ptl_buf *ret)
{
    size_t base_len = c->base_url ? strlen(c->base_url) : 0, token_len = c->token ? strlen(c->token) : 0;
    size_t full = strlen(text);
    for (const char *p = text; *p;) {
        if (ret->len >= MAX_LINE) {
            ptl_buf_printf(ret, "… (%zu bytes more)", full - (size_t)(p - text));
            return;
        }
        if (base_len && strncmp(p, c->base_url, base_len) == 0) {
            p += base_len;
        } else if (token_len && strncmp(p, c->token, token_len) == 0) {
            p += token_len;
        } else if (*p == '\n') {
            p += strspn(p, "\n \t\r");
            if (*p)
                ptl_buf_puts(ret, " | ");
        } else if (p[0] == 033 && p[1] == '[') {
            p += 2;
            p += strspn(p, "0123456789;");
            p += *p != 0;
        } else {
            if ((unsigned char)*p >= ' ' && *p != 127)
                ptl_buf_putc(ret, *p);
            p++;
        }
    }
}

/* True when this very line was kept before: a runtime may print the same error at every inference. */
static bool keep_error(struct ptl_console *c, const char *source, const char *text)
{
    PTL_FREE char *line = ptl_xasprintf("ERROR %s: %s", source, text);
    PTL_FREE char *clean = ptl_json_text_utf8(line, strlen(line)); /* a cut may have halved a character */
    for (size_t i = 0; clean && i < json_array_size(c->errors); i++)
        if (strcmp(json_string_value(json_array_get(c->errors, i)), clean) == 0)
            return true;
    if (json_array_size(c->errors) >= MAX_ERRORS)
        c->more_errors++;
    else
        json_array_append_new(c->errors, json_string(clean ? clean : "ERROR"));
    return false;
}

/* The browser's own words about a request; what a runtime prints (console-api) stays the runtime's. */
static bool explains_request(const char *source, const char *text)
{
    static const char *const words[] = {"net::ERR_", "blocked by CORS", "Not allowed to load local resource",
                                        "Failed to load resource"};
    if (strcmp(source, "network") == 0 || strcmp(source, "security") == 0)
        return true;
    for (size_t i = 0; strcmp(source, "console-api") != 0 && i < PTL_ARRAY_LEN(words); i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

static void add(struct ptl_console *c, const char *kind, const char *level, const char *source,
                const char *where, const char *text)
{
    PTL_BUF line = PTL_BUF_INIT;
    PTL_BUF words = PTL_BUF_INIT;
    tidy(c, text, &words);
    enum ptl_console_level judged = ptl_console_judge(level, text);
    if (strcmp(kind, "phase") == 0) {
        free(c->phase);
        c->phase = ptl_xstrdup(ptl_buf_str(&words));
        ptl_buf_printf(&line, "page: %s\n", ptl_buf_str(&words));
    } else {
        bool is_console =
            strcmp(kind, "console") == 0; /* a "warning" or "rejection" says its level by its kind */
        ptl_buf_printf(&line, "%s%s%s (%s): %s%s%s%s\n", kind, is_console ? " " : "",
                       is_console ? level_names[judged] : "", source, ptl_buf_str(&words), *where ? " [" : "",
                       where, *where ? "]" : "");
    }
    bool is_error = judged == PTL_CONSOLE_ERROR && strcmp(kind, "phase") != 0;
    bool explains = is_error && explains_request(source, ptl_buf_str(&words));
    if (is_error && !explains && keep_error(c, source, ptl_buf_str(&words))) {
        c->repeated++;
        return;
    }
    write_line(c, ptl_buf_str(&line), line.len);
    if (strcmp(kind, "warning") == 0 && json_array_size(c->warnings) < MAX_WARNINGS)
        json_array_append_new(c->warnings, json_string(text));
    if (explains && !c->network_cause) /* what follows for the run is the run's to tell; a stray 404 is no
                                          runtime error */
        c->network_cause = ptl_xstrdup(ptl_buf_str(&words));
}

/* ---- the interface ---- */

static void set_base(struct ptl_console *c, const char *base_url)
{
    size_t n = base_url ? strlen(base_url) : 0;
    free(c->base_url);
    c->base_url = base_url ? ptl_xstrdup(base_url) : NULL;
    c->token = NULL;
    for (size_t i = n; i >= 2 && !c->token; i--)
        if (base_url[i - 2] == '/' && n - i >= 8) /* a short one might be a word */
            c->token = c->base_url + i - 1;
}

char *ptl_console_tidy(struct ptl_console *c, const char *text)
{
    PTL_BUF line = PTL_BUF_INIT;
    pthread_mutex_lock(&c->lock);
    tidy(c, text, &line);
    pthread_mutex_unlock(&c->lock);
    return ptl_xstrdup(ptl_buf_str(&line));
}

struct ptl_console *ptl_console_new(int log_fd, size_t log_bytes, const char *base_url)
{
    struct ptl_console *c = ptl_xcalloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    c->log_fd = log_fd;
    c->log_left = log_bytes;
    set_base(c, base_url);
    c->errors = json_array();
    c->warnings = json_array();
    return c;
}

struct ptl_console *ptl_console_free(struct ptl_console *c)
{
    if (!c)
        return NULL;
    if ((c->left_out || c->repeated) && c->log_fd >= 0) {
        char line[160];
        int n = snprintf(line, sizeof(line),
                         "browser: left out of this log: %u repetitions of errors, %u lines past its bound\n",
                         c->repeated, c->left_out);
        int ignored PTL_UNUSED = ptl_fs_write_all(c->log_fd, line, (size_t)n);
    }
    pthread_mutex_destroy(&c->lock);
    json_decref(c->errors);
    json_decref(c->warnings);
    free(c->network_cause);
    free(c->phase);
    free(c->base_url);
    free(c);
    return NULL;
}

void ptl_console_set_base(struct ptl_console *c, const char *base_url)
{
    pthread_mutex_lock(&c->lock);
    set_base(c, base_url);
    pthread_mutex_unlock(&c->lock);
}

void ptl_console_say(struct ptl_console *c, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    PTL_BUF line = PTL_BUF_INIT;
    pthread_mutex_lock(&c->lock);
    ptl_buf_puts(&line, "browser: ");
    tidy(c, text, &line);
    ptl_buf_putc(&line, '\n');
    if (c->log_fd >= 0) {
        int ignored PTL_UNUSED =
            ptl_fs_write_all(c->log_fd, ptl_buf_str(&line), line.len); /* few, and outside the budget */
    }
    pthread_mutex_unlock(&c->lock);
}

void ptl_console_add_event(struct ptl_console *c, const char *text, size_t len)
{
    PTL_JSON *e = NULL;
    if (ptl_json_parse(text, len, "event", &e, NULL) < 0 || !json_is_object(e)) {
        json_decref(e);
        e = NULL;
    }
    pthread_mutex_lock(&c->lock);
    if (!e)
        add(c, "console", "info", "unreadable", "", text);
    else if (strcmp(ptl_json_str(e, "kind", ""), "console") == 0)
        add(c, "console", ptl_json_str(e, "level", "info"), "console-api", ptl_json_str(e, "source", ""),
            ptl_json_str(e, "text", ""));
    else
        add(c, ptl_json_str(e, "kind", "console"), ptl_json_str(e, "level", "info"),
            ptl_json_str(e, "source", "page"), "", ptl_json_str(e, "text", ""));
    pthread_mutex_unlock(&c->lock);
}

void ptl_console_add_drained(struct ptl_console *c, const json_t *entries)
{
    size_t i;
    const json_t *e;
    pthread_mutex_lock(&c->lock);
    json_array_foreach(entries, i, e)
    {
        add(c, "console", ptl_json_str(e, "level", "INFO"), ptl_json_str(e, "source", "browser"), "",
            ptl_json_str(e, "message", ""));
    }
    pthread_mutex_unlock(&c->lock);
}

json_t *ptl_console_errors(struct ptl_console *c)
{
    pthread_mutex_lock(&c->lock);
    json_t *list = json_copy(c->errors);
    if (c->more_errors)
        json_array_append_new(list, json_sprintf("ERROR … and %u errors more", c->more_errors));
    pthread_mutex_unlock(&c->lock);
    return list;
}

json_t *ptl_console_warnings(struct ptl_console *c)
{
    pthread_mutex_lock(&c->lock);
    json_t *list = json_copy(c->warnings);
    pthread_mutex_unlock(&c->lock);
    return list;
}

char *ptl_console_network_cause(struct ptl_console *c)
{
    pthread_mutex_lock(&c->lock);
    char *s = ptl_xstrdup(c->network_cause ? c->network_cause : "");
    pthread_mutex_unlock(&c->lock);
    return s;
}

char *ptl_console_phase(struct ptl_console *c)
{
    pthread_mutex_lock(&c->lock);
    char *s = ptl_xstrdup(c->phase ? c->phase : "");
    pthread_mutex_unlock(&c->lock);
    return s;
}
