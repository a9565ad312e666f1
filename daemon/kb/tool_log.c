/* tool_log.c - one log: its diagnosis, which indicators speak on it, and how fast that goes. */
#include "tool-private.h"
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

enum { LOG_HEAD = 30 << 20, LOG_TAIL = 30 << 20 }; /* together less than a text may hold (text.h) */

/* A log of any size: its beginning and its end, when it is larger than both. *ret_cut: bytes left out
 * between. */
static int read_log(const char *path, struct ptl_buf *ret, uint64_t *ret_cut, struct ptl_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    PTL_CLOSE int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    PTL_FREE char *ring = NULL;
    static char piece[1 << 16];
    size_t at = 0;
    uint64_t behind = 0; /* bytes behind the head */
    ssize_t n;
    if (is_stdin)
        path = "standard input";
    if (fd < 0)
        return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ptl_error_set(err, -errno, "%s: %s", path, strerror(errno));
        size_t got = (size_t)n, head = ret->len < LOG_HEAD ? LOG_HEAD - ret->len : 0;
        if (head > got)
            head = got;
        ptl_buf_add(ret, piece, head);
        behind += got - head;
        for (const char *p = piece + head; p < piece + got;) {
            if (!ring && !(ring = malloc(LOG_TAIL)))
                return ptl_error_set(err, -ENOMEM, "%s: out of memory", path);
            size_t rest = (size_t)(piece + got - p), room = LOG_TAIL - at, take = rest < room ? rest : room;
            memcpy(ring + at, p, take);
            at = (at + take) % LOG_TAIL;
            p += take;
        }
    }
    *ret_cut = behind > LOG_TAIL ? behind - LOG_TAIL : 0;
    if (*ret_cut) {
        ptl_buf_puts(ret, "\n");
        ptl_buf_add(ret, ring + at, LOG_TAIL - at);
        ptl_buf_add(ret, ring, at);
    } else if (behind) {
        ptl_buf_add(ret, ring, (size_t)behind);
    }
    return ret->failed ? ptl_error_set(err, ret->failed, "%s: out of memory", path) : 0;
}

/* What people call platforms and stages. NULL: not known. */
static const char *word_of(const char *said, const char *const words[][2])
{
    size_t n = said ? strcspn(said, "/@ ") : 0;
    for (; n && (*words)[0]; words++)
        if (strlen((*words)[0]) == n && strncasecmp((*words)[0], said, n) == 0)
            return (*words)[1];
    return NULL;
}

static const char *platform_of(const char *said)
{
    static const char *const words[][2] = {
        {"server",       "server" },
        {"cloud",        "server" },
        {"server/cloud", "server" },
        {"mobile",       "mobile" },
        {"android",      "mobile" },
        {"ios",          "mobile" },
        {"phone",        "mobile" },
        {"edge",         "mobile" },
        {"browser",      "browser"},
        {"web",          "browser"},
        {"javascript",   "browser"},
        {NULL,           NULL     },
    };
    const char *found = word_of(said, words);
    if (said && *said && !found)
        fprintf(stderr, "%s: --platform %s is none of server, mobile, browser: taken as unknown\n",
                tool_program, said);
    return found;
}

static const char *stage_of(const char *said)
{
    static const char *const words[][2] = {
        {"export",     "export" },
        {"convert",    "convert"},
        {"conversion", "convert"},
        {"verify",     "verify" },
        {"serve",      "verify" },
        {"deploy",     "verify" },
        {"run",        "verify" },
        {NULL,         NULL     },
    };
    const char *found = word_of(said, words);
    if (said && *said && !found)
        fprintf(stderr, "%s: --stage %s is none of export, convert, verify: taken as unknown\n", tool_program,
                said);
    return found;
}

int tool_diagnose(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(tool_source_done) struct source s;
    PTL_BUF log = PTL_BUF_INIT;
    PTL_JSON *d = NULL;
    uint64_t cut = 0;
    int r = tool_source_open(o, &s, err);
    if (r == 0 && o->n_files != 1)
        r = ptl_error_set(err, -EINVAL, "diagnose: one FILE, or -");
    if (r == 0)
        r = read_log(o->files[0], &log, &cut, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = r == 0 ? tool_kb(o, &s, s.model, s.model_len, err) : NULL;
    if (!kb)
        return r < 0 ? r : -EINVAL;
    PTL_FREE char *tool = o->tool ? ptl_json_text_utf8(o->tool, strlen(o->tool)) : NULL;
    PTL_FREE char *end = o->end ? ptl_json_text_utf8(o->end, strlen(o->end)) : NULL;
    PTL_JSON *facts = json_pack("{s:s?,s:s?,s:s?,s:s?}", "platform", platform_of(o->platform), "kind",
                                stage_of(o->stage), "tool", tool, "end_reason", end);
    struct ptl_kb_log one = {.text = ptl_buf_str(&log), .len = log.len};
    if ((r = ptl_kb_diagnose(kb, facts, &one, 1, &d, err)) < 0)
        return r;
    if (cut)
        json_array_append_new(
            json_object_get(d, "cuts"),
            json_sprintf("%llu bytes in the middle of the log were not looked at; line numbers behind "
                         "them do not count them",
                         (unsigned long long)cut));
    if (o->json) {
        /* Programs that read it want a plain answer: what nobody knows is no promise that a retry helps. */
        json_object_set_new(d, "transient_known",
                            json_boolean(!json_is_null(json_object_get(d, "transient"))));
        json_object_set_new(d, "transient", json_boolean(ptl_json_flag(d, "transient", false)));
        PTL_FREE char *text = json_dumps(d, JSON_INDENT(1) | JSON_ENSURE_ASCII);
        puts(text);
        return 0;
    }
    size_t i;
    const json_t *v;
    printf("%s: %s\n", ptl_json_str(d, "verdict", ""), ptl_json_str(d, "summary", ""));
    json_array_foreach(json_object_get(d, "challenges"), i, v)
        printf("  %5.1f %%  %s  (%s)\n", 100 * ptl_json_num(v, "probability", 0), ptl_json_str(v, "id", ""),
               ptl_json_str(v, "path", ""));
    json_array_foreach(json_object_get(d, "evidence"), i, v)
        printf("  line %lld: %s\n      %s\n", (long long)ptl_json_i64(v, "line", 0),
               ptl_json_str(v, "text", ""), ptl_json_str(v, "why", ""));
    return 0;
}

/* What this process used of a processor: the figure that others on the machine do not change much. */
static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* {"heard": {id: {"line","weight"}}, "silent": {id: [lines]}}: silent for the situation's scope and weights,
 * or by their role. */
static int print_matches(const struct ptl_kb *kb, const json_t *facts, const char *file,
                         const struct ptl_buf *log, struct ptl_error *err)
{
    PTL_JSON *all = NULL;
    PTL_JSON *heard = NULL;
    const char *id;
    json_t *v;
    int r = ptl_kb_matches(kb, facts, ptl_buf_str(log), log->len, &all, err);
    if (r == 0)
        r = ptl_kb_heard(kb, facts, ptl_buf_str(log), log->len, &heard, err);
    if (r < 0)
        return r;
    json_object_foreach(heard, id, v) json_object_del(all, id);
    PTL_JSON *both = json_pack("{s:O,s:O}", "heard", heard, "silent", all);
    PTL_FREE char *text = ptl_json_text(both);
    printf("%s\t%s\n", file, text);
    return 0;
}

int tool_files(const struct options *o, struct ptl_error *err)
{
    PTL_CLEANUP(tool_source_done) struct source s;
    int r = tool_source_open(o, &s, err);
    PTL_CLEANUP(ptl_kb_freep) struct ptl_kb *kb = r == 0 ? tool_kb(o, &s, s.model, s.model_len, err) : NULL;
    if (!kb)
        return r < 0 ? r : -EINVAL;
    for (int i = 0; r == 0 && i < o->n_files; i++) {
        PTL_BUF log = PTL_BUF_INIT;
        PTL_JSON *out = NULL;
        PTL_JSON *facts =
            json_pack("{s:s?,s:s?,s:s?}", "platform", o->platform, "kind", o->stage, "tool", o->tool);
        if ((r = ptl_fs_read(o->files[i], (size_t)1 << 30, &log, err)) < 0)
            return r;
        int64_t start = ptl_mono_us(), cpu_start = cpu_us();
        if (strcmp(o->verb, "matches") == 0) {
            if ((r = print_matches(kb, facts, o->files[i], &log, err)) < 0)
                return r;
            continue;
        }
        if ((r = ptl_kb_matches(kb, facts, ptl_buf_str(&log), log.len, &out, err)) < 0)
            return r;
        int64_t scanned = ptl_mono_us(), cpu_scanned = cpu_us();
        struct ptl_kb_log one = {.text = ptl_buf_str(&log), .len = log.len};
        PTL_JSON *d = NULL;
        if ((r = ptl_kb_diagnose(kb, facts, &one, 1, &d, err)) < 0)
            return r;
        int64_t end = ptl_mono_us(), cpu_end = cpu_us();
        printf("{\"file\":\"%s\",\"bytes\":%zu,\"indicators\":%zu,\"scan_us\":%lld,\"diagnosis_us\":%lld,"
               "\"scan_cpu_us\":%lld,\"diagnosis_cpu_us\":%lld}\n",
               o->files[i], log.len, ptl_kb_count(kb), (long long)(scanned - start),
               (long long)(end - scanned), (long long)(cpu_scanned - cpu_start),
               (long long)(cpu_end - cpu_scanned));
    }
    return r;
}
