/* log.c - the one log of a process: whole lines on stderr in one write, so that threads never interleave.
 * Masks registered secrets, because messages quote what other programs said. */
#include <portolan/clock.h>
#include <portolan/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>

enum { SECRETS_MAX = 64, LINE_MAX_BYTES = 8192 };

static const char *program_name = "portolan";
static _Atomic int max_level = PTL_LOG_INFO;
static bool journald;
static pthread_mutex_t mask_lock = PTHREAD_MUTEX_INITIALIZER;
static char *secrets[SECRETS_MAX];
static size_t n_secrets;

static const struct {
    const char *name;
    char journal;
} levels[] = {
    {"error",   '3'},
    {"warning", '4'},
    {"info",    '6'},
    {"debug",   '7'}
};

void ptl_log_init(const char *program)
{
    program_name = program;
    journald = getenv("JOURNAL_STREAM") != NULL;
    const char *want = getenv("PORTOLAN_LOG");
    for (size_t i = 0; want && i < PTL_ARRAY_LEN(levels); i++)
        if (ptl_str_eq(want, levels[i].name))
            max_level = (int)i;
}

void ptl_log_set_level(enum ptl_log_level level)
{
    max_level = (int)level;
}

int ptl_log_mask(const char *secret)
{
    if (!secret || strlen(secret) < 4)
        return 0;
    int r = 0;
    pthread_mutex_lock(&mask_lock);
    if (n_secrets < SECRETS_MAX)
        secrets[n_secrets++] = ptl_xstrdup(secret);
    else
        r = -ENOSPC;
    pthread_mutex_unlock(&mask_lock);
    return r;
}

static void mask(char *line)
{
    pthread_mutex_lock(&mask_lock);
    for (size_t i = 0; i < n_secrets; i++) {
        size_t len = strlen(secrets[i]);
        for (char *at = line; (at = strstr(at, secrets[i])) != NULL;) {
            memmove(at + 3, at + len, strlen(at + len) + 1);
            memcpy(at, "***", 3);
            at += 3;
        }
    }
    pthread_mutex_unlock(&mask_lock);
}

void ptl_log(enum ptl_log_level level, const char *fmt, ...)
{
    if ((int)level > max_level)
        return;
    char line[LINE_MAX_BYTES];
    int n;
    if (journald) {
        n = snprintf(line, sizeof(line), "<%c>", levels[level].journal);
    } else {
        char when[32];
        ptl_wall_rfc3339(ptl_wall_ms(), when);
        n = snprintf(line, sizeof(line), "%s %-7s %s: ", when, levels[level].name, program_name);
    }
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    va_end(ap);
    if (m < 0)
        return;
    for (unsigned char *p = (unsigned char *)line + n; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
    mask(line);
    size_t len = strlen(line);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len] = '\n';
    /* One write: POSIX keeps it whole on pipes up to PIPE_BUF and in append mode; losing a log line is
     * survivable. */
    ssize_t ignored PTL_UNUSED = write(STDERR_FILENO, line, len + 1);
}
