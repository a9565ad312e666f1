/* history_bench.c - statements through the store, one after another, as the daemon runs them: prepared, with
 * the parameters of a file. Prints one line a label: label, count, p50, p99 and longest in ms, and p50 and
 * p99 of the server's processor time in ms, which a busy machine does not stretch (Linux; 0 elsewhere or for
 * a server of another machine).
 *
 *     history_bench DSN FILE ROUNDS DATABASE
 * FILE: lines of label, statement, parameters, separated by tabs; a parameter is n (null), i:NUMBER, s:TEXT
 * or b:0|1. */
#include "sql_set.h"
#include "store.h"
#include <portolan/buf.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/log.h>
#include <dirent.h>
#include <stdio.h>

enum { LABELS_MAX = 64, SAMPLES_MAX = 200000, WARM_UP = 1 };

struct label {
    char name[48];
    double *ms, *cpu;
    size_t n;
};
struct bench {
    struct ptl_loop *loop;
    struct ptl_store *store;
    char **lines;
    size_t n_lines, at, rounds, round, failed;
    int64_t began_us, began_cpu_ns;
    int pids[64];
    size_t n_pids;
    struct label *now, labels[LABELS_MAX];
    size_t n_labels;
};

static struct label *label_of(struct bench *b, const char *name)
{
    for (size_t i = 0; i < b->n_labels; i++)
        if (ptl_str_eq(b->labels[i].name, name))
            return &b->labels[i];
    if (b->n_labels == LABELS_MAX) {
        fprintf(stderr, "more than %d labels\n", LABELS_MAX);
        exit(1);
    }
    struct label *l = &b->labels[b->n_labels++];
    snprintf(l->name, sizeof(l->name), "%s", name);
    l->ms = ptl_xcalloc(SAMPLES_MAX, sizeof(*l->ms));
    l->cpu = ptl_xcalloc(SAMPLES_MAX, sizeof(*l->cpu));
    return l;
}

/* The server's processes of this database, found by the names they give themselves. */
static void find_pids(struct bench *b, const char *database)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    PTL_FREE char *wanted = ptl_xasprintf(" %s [local]", database);
    while (d && (e = readdir(d)) && b->n_pids < PTL_ARRAY_LEN(b->pids)) {
        char path[300], line[300] = "";
        snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
        FILE *f = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (f && fread(line, 1, sizeof(line) - 1, f) > 0 && ptl_str_starts(line, "postgres: ") &&
            strstr(line, wanted))
            b->pids[b->n_pids++] = atoi(e->d_name);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
}

static int64_t cpu_ns(const struct bench *b)
{
    int64_t sum = 0;
    for (size_t i = 0; i < b->n_pids; i++) {
        char path[64];
        long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%d/schedstat", b->pids[i]);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%lld", &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
    }
    return sum;
}

static void ask(void *ctx);

static void on_answer(void *ctx, struct ptl_rows *rows PTL_UNUSED, const struct ptl_error *err)
{
    struct bench *b = ctx;
    int64_t took_us = ptl_mono_us() - b->began_us;
    if (err && b->failed++ == 0)
        fprintf(stderr, "%s: %s\n", b->now->name, err->text);
    if (b->round >= WARM_UP && b->now->n < SAMPLES_MAX) {
        b->now->ms[b->now->n] = (double)(took_us) / 1000;
        b->now->cpu[b->now->n++] = (double)(cpu_ns(b) - b->began_cpu_ns) / 1e6;
    }
    if (++b->at == b->n_lines) {
        b->at = 0;
        b->round++;
    }
    if (b->round < b->rounds + WARM_UP)
        ptl_loop_defer(b->loop, ask, b);
    else
        ptl_loop_stop(b->loop);
}

static void ask(void *ctx)
{
    struct bench *b = ctx;
    char *line = ptl_xstrdup(b->lines[b->at]), *save = NULL;
    const char *label = strtok_r(line, "\t", &save), *sql = strtok_r(NULL, "\t", &save);
    size_t at = 0;
    while (sql && at < ptl_sql_builtin.n && !ptl_str_eq(ptl_sql_builtin.v[at].name, sql))
        at++;
    if (!sql || at == ptl_sql_builtin.n) {
        fprintf(stderr, "no statement %s\n", sql ? sql : "?");
        exit(1);
    }
    struct ptl_args a;
    ptl_args_init(&a);
    for (char *p = strtok_r(NULL, "\t", &save); p; p = strtok_r(NULL, "\t", &save)) {
        if (*p == 'i')
            ptl_args_i64(&a, strtoll(p + 2, NULL, 10));
        else if (*p == 'b')
            ptl_args_bool(&a, p[2] == '1');
        else
            ptl_args_str(&a, *p == 's' ? p + 2 : NULL);
    }
    b->now = label_of(b, label);
    b->began_cpu_ns = cpu_ns(b);
    b->began_us = ptl_mono_us();
    if (ptl_store_query(b->store, (enum ptl_sql)at, &a, on_answer, b) != 0)
        exit(1);
    free(line);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_BUF text = PTL_BUF_INIT;
    ptl_log_init("history_bench");
    if (argc != 5 || ptl_fs_read(argv[2], (size_t)64 << 20, &text, &err) < 0) {
        fprintf(stderr, "usage: history_bench DSN FILE ROUNDS DATABASE\n%s\n", err.text);
        return 2;
    }
    b.rounds = (size_t)strtoul(argv[3], NULL, 10);
    b.lines = ptl_xcalloc(text.len + 1, sizeof(*b.lines));
    char *save = NULL;
    for (char *p = strtok_r(text.data, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
        b.lines[b.n_lines++] = p;
    b.loop = ptl_loop_new(1, 16);
    struct ptl_store_options o = {.dsn = argv[1], .connections = 4, .statement_timeout_ms = 60000};
    if (ptl_store_open(b.loop, &o, &b.store, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    find_pids(&b, argv[4]);
    ptl_loop_defer(b.loop, ask, &b);
    (void)ptl_loop_run(b.loop);
    for (size_t i = 0; i < b.n_labels; i++) {
        struct label *l = &b.labels[i];
        qsort(l->ms, l->n, sizeof(*l->ms), by_value);
        qsort(l->cpu, l->n, sizeof(*l->cpu), by_value);
        if (l->n)
            printf("%s\t%zu\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\n", l->name, l->n, l->ms[l->n / 2],
                   l->ms[l->n * 99 / 100], l->ms[l->n - 1], l->cpu[l->n / 2], l->cpu[l->n * 99 / 100]);
        free(l->ms);
        free(l->cpu);
    }
    ptl_store_close(b.store);
    ptl_loop_free(b.loop);
    free(b.lines);
    return b.failed ? 1 : 0;
}
