/* work.c - what the agent's worker threads do for one attempt: fetch its workspace, settle its result,
 * publish its artifacts, ship its log, remove its directory. Each sees only its own work item; all may block;
 * all can be repeated, since the network or this process may go away in the middle of any of them. */
#include "agent-private.h"
#include "attempt.h"
#include "cgroup.h"
#include "spool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <portolan/archive.h>
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/hash.h>
#include <portolan/log.h>

#define SHIP_TIMEOUT_MS 60000
#define CHUNKS_A_TURN   16
/* A server that never moves its offset forward would be asked for ever. */
#define STUCK_MAX 5

struct job_work *work_free(struct job_work *w)
{
    if (!w)
        return NULL;
    free(w->dir);
    free(w->kept_dir);
    if (w->job_text) {
        explicit_bzero(w->job_text, strlen(w->job_text)); /* secrets of the stage */
        free(w->job_text);
    }
    json_decref(w->result);
    free(w);
    return NULL;
}

/* ---- fetch ---- */

static int parent_dirs(const char *path, struct ptl_error *err)
{
    PTL_FREE char *dir = ptl_xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return 0;
    *slash = 0;
    return ptl_fs_mkdirs(dir, 0755, err);
}

static int fetch_files(struct job_work *w, const json_t *set, const char *sub, struct ptl_error *err)
{
    size_t i;
    json_t *file;
    bool may_link = !ptl_str_eq(getenv("PORTOLAN_SANDBOX"), "none");
    PTL_FREE char *root = ptl_xasprintf("%s/inputs/%s", w->dir, sub);
    json_array_foreach(json_object_get(set, "files"), i, file)
    {
        const char *path = ptl_json_str(file, "path", "");
        if (!ptl_fs_is_safe_relative(path))
            return ptl_error_set(err, -EINVAL, "input %s[%zu]: \"%.100s\" is not a safe relative path", sub,
                                 i, path);
        PTL_FREE char *to = ptl_fs_join(root, path);
        int r = parent_dirs(to, err);
        if (r == 0)
            r = ptl_cache_place(w->cache, w->client, ptl_json_str(file, "sha256", ""), to,
                                ptl_json_flag(file, "exec", false), may_link, &w->stop, err);
        if (r < 0)
            return ptl_error_prefix(err, r, "input %s/%s", sub, path);
    }
    return 0;
}

static int fetch_source(struct job_work *w, const json_t *source, struct ptl_error *err)
{
    PTL_FREE char *archive = ptl_fs_join(w->dir, "source.tar.zst");
    PTL_FREE char *src = ptl_fs_join(w->dir, "src");
    int r = ptl_fs_mkdirs(src, 0755, err);
    if (r < 0 || !json_is_object(source))
        return r;
    r = ptl_cache_place(w->cache, w->client, ptl_json_str(source, "sha256", ""), archive, false, true,
                        &w->stop, err);
    if (r == 0)
        r = ptl_archive_extract(archive, src, NULL, err);
    unlink(archive);
    return r < 0 ? ptl_error_prefix(err, r, "source snapshot") : 0;
}

/* A fresh start each time: what a broken fetch left behind is removed first. */
static int fetch(struct job_work *w, struct ptl_error *err)
{
    static const char *const parts[] = {"src", "inputs", "outputs", "scratch", "source.tar.zst"};
    PTL_FREE char *job_path = ptl_fs_join(w->dir, "job.json");
    PTL_JSON *job = NULL;
    int r = ptl_fs_mkdirs(w->dir, 0700, err);
    if (r == 0 && w->job_text)
        r = ptl_fs_write_atomic(job_path, w->job_text, strlen(w->job_text), 0600, err);
    if (r == 0)
        r = ptl_json_load(job_path, PTL_WIRE_BODY_MAX, &job, err);
    for (size_t i = 0; i < PTL_ARRAY_LEN(parts) && r == 0; i++) {
        PTL_FREE char *path = ptl_fs_join(w->dir, parts[i]);
        r = ptl_fs_remove_tree(path, err);
    }
    if (r == 0)
        r = fetch_source(w, json_object_get(job, "source"), err);
    if (r == 0)
        r = fetch_files(w, json_object_get(job, "model"), "model", err);
    if (r == 0)
        r = fetch_files(w, json_object_get(job, "golden"), "golden", err);
    ptl_cache_trim(w->cache);
    return w->stop && r < 0 ? -ECANCELED : r;
}

/* ---- settle ---- */

static json_t *result_without_process(const struct job_work *w, const char *reason, const char *message)
{
    PTL_FREE char *clean = ptl_json_text_utf8(message, strlen(message));
    return json_pack("{s:I, s:I, s:s, s:i, s:i, s:b, s:s, s:I, s:i, s:i, s:s, s:{}, s:[], s:n, s:[]}",
                     "attempt_id", (json_int_t)w->id, "fence", (json_int_t)w->fence, "end_reason", reason,
                     "exit_code", 0, "signal", 0, "ok", 0, "message", clean, "started_wall_ms",
                     (json_int_t)ptl_wall_ms(), "duration_ms", 0, "peak_memory_bytes", 0, "sandbox", "none",
                     "environment", "artifacts", "report", "warnings");
}

/* No result.json: the attempt process was never started, or died in the middle. */
static json_t *explain_missing(const struct job_work *w)
{
    char text[512];
    if (w->err.code) /* fetching failed */
        return result_without_process(w, w->cancelled && !w->stopped_by_us ? "cancelled" : "setup",
                                      w->cancelled ? "cancelled before it began" : w->err.text);
    if (w->cancelled && !w->stopped_by_us)
        return result_without_process(w, "cancelled", "cancelled; it had to be killed");
    if (w->has_status && WIFSIGNALED(w->exit_status))
        snprintf(text, sizeof(text),
                 "the agent's process for this attempt was ended by signal %d (%s) before it could report",
                 WTERMSIG(w->exit_status), strsignal(WTERMSIG(w->exit_status)));
    else if (w->has_status) {
        PTL_FREE char *said = ptl_fs_join(w->dir, "attempt.err");
        PTL_BUF words = PTL_BUF_INIT;
        (void)!ptl_fs_read(said, 60000, &words, NULL);
        snprintf(
            text, sizeof(text),
            "the agent's process for this attempt ended with exit code %d before it could report%s%.300s",
            WEXITSTATUS(w->exit_status), words.len ? ": " : "", ptl_buf_str(&words));
    } else
        snprintf(text, sizeof(text),
                 "the agent's process for this attempt vanished while no agent watched it");
    return result_without_process(w, "agent_lost", text);
}

static uint64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int settle(struct job_work *w, struct ptl_error *err)
{
    char prefix[PTL_CGROUP_NAME];
    PTL_FREE char *path = ptl_fs_join(w->dir, "result.json");
    PTL_FREE char *log = ptl_fs_join(w->dir, "log");
    struct ptl_error why = PTL_ERROR_INIT;
    PTL_JSON *result = NULL;
    if (!ptl_fs_exists(path)) {
        ptl_cgroup_name_for(w->dir, "", prefix);
        ptl_cgroup_sweep(prefix);
        if (ptl_spool_recover(w->dir, &why) < 0)
            ptl_log_warning("attempt=%lld: %s", (long long)w->id, why.text);
        result = explain_missing(w);
        if (!ptl_fs_exists(log) || file_size(log) == 0) { /* the reason must be findable in the log too */
            PTL_FREE char *line = ptl_xasprintf("[portolan] %s\n", ptl_json_str(result, "message", ""));
            (void)!ptl_fs_write_atomic(log, line, strlen(line), 0600, NULL);
        }
        int r = ptl_json_save(path, result, 0600, err);
        if (r == -ENOSPC || r == -EDQUOT) {
            /* What fills the disk may be this very workspace, which goes only when its end is told: nothing
             * of it is needed for that, and if there is still no room the end is told from memory. */
            static const char *const spent[] = {"scratch", "src", "inputs", "outputs"};
            for (size_t i = 0; i < PTL_ARRAY_LEN(spent); i++) {
                PTL_FREE char *tree = ptl_fs_join(w->dir, spent[i]);
                (void)!ptl_fs_remove_tree(tree, &why);
            }
            r = ptl_json_save(path, result, 0600, err);
            if (r == -ENOSPC || r == -EDQUOT) {
                ptl_log_warning("attempt=%lld: no room for its result.json, it is told from memory: %s",
                                (long long)w->id, err->text);
                *err = (struct ptl_error)PTL_ERROR_INIT;
                r = 0;
            }
        }
        if (r < 0)
            return r;
    } else if (ptl_json_load(path, PTL_WIRE_BODY_MAX, &result, &why) < 0 ||
               ptl_wire_check_result(result, &why) < 0) {
        json_decref(result);
        result = result_without_process(w, "agent_lost", why.text);
    }
    if (w->stopped_by_us && ptl_str_eq(ptl_json_str(result, "end_reason", ""), "cancelled")) {
        /* nobody cancelled the stage: the agent went away under it, and another may run it */
        json_object_set_new(result, "end_reason", json_string("agent_lost"));
        json_object_set_new(result, "message", json_string("the agent was stopped while the stage ran"));
        (void)!ptl_json_save(path, result, 0600, NULL);
    }
    json_decref(w->result);
    w->result = json_incref(result);
    w->log_bytes = (int64_t)file_size(log);
    return 0;
}

/* ---- publish ---- */

static int publish(struct job_work *w, struct ptl_error *err)
{
    size_t i;
    json_t *artifact;
    json_array_foreach(json_object_get(w->result, "artifacts"), i, artifact)
    {
        const char *path = ptl_json_str(artifact, "path", ""), *sha256 = ptl_json_str(artifact, "sha256", "");
        PTL_FREE char *file = ptl_xasprintf("%s/outputs/%s", w->dir, path);
        if (w->stop)
            return ptl_error_set(err, -ECANCELED, "cancelled");
        int r = ptl_client_blob_upload(w->client, sha256, file, &w->stop, err);
        if (r == -ESTALE) { /* the server's hash differs: whose fault is it? */
            char hex[PTL_SHA256_HEX] = "";
            if (ptl_sha256_file(file, hex, NULL, err) < 0 || !ptl_str_eq(hex, sha256))
                return ptl_error_set(err, -EBADMSG,
                                     "artifact %s changed on this agent's disk after the stage had ended",
                                     path);
            r = -EAGAIN; /* damaged on the way: again from the start */
        }
        if (r == PTL_ABSENT)
            r = -EPROTO;
        if (r < 0)
            return ptl_error_prefix(err, r, "artifact %s", path);
    }
    return 0;
}

/* ---- ship ---- */

static int ship_chunk(struct job_work *w, int fd, int64_t len, struct ptl_error *err)
{
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    PTL_FREE char *path = ptl_xasprintf("/api/v1/agent/attempts/%lld/log?fence=%lld&offset=%llu",
                                        (long long)w->id, (long long)w->fence, (unsigned long long)w->offset);
    struct ptl_http_request req = {
        .method = "PUT",
        .headers = headers,
        .body_fd = fd,
        .body_offset = (int64_t)w->offset,
        .body_fd_len = len,
        .timeout_ms = SHIP_TIMEOUT_MS,
        .cancelled = &w->stop,
    };
    struct ptl_http_answer a = {0};
    PTL_JSON *answer = NULL;
    int r = ptl_client_raw(w->client, path, &req, &a, err);
    if (r == 0 && a.status == 200) {
        int64_t next = -1;
        if (ptl_json_parse(ptl_buf_str(&a.body), a.body.len, "log upload answer", &answer, err) == 0)
            next = ptl_json_i64(answer, "next_offset", -1);
        if (next < 0)
            r = ptl_error_set(err, -EPROTO, "log upload: the server named no next_offset");
        else
            w->offset = (uint64_t)next;
    } else if (r == 0) {
        r = a.status == 409 || a.status == 404                      ? -ESTALE
            : a.status == 400 || a.status == 422 || a.status == 413 ? -EINVAL
                                                                    : -EAGAIN;
        ptl_error_set(err, r, "log upload: HTTP %d", a.status);
    }
    ptl_http_answer_done(&a);
    return r;
}

static int ship(struct job_work *w, struct ptl_error *err)
{
    PTL_FREE char *log = ptl_fs_join(w->dir, "log");
    PTL_CLOSE int fd = open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int stuck = 0;
    if (fd < 0) {
        w->at_end = true;
        return 0;
    }
    for (int i = 0; i < CHUNKS_A_TURN; i++) {
        struct stat st;
        if (fstat(fd, &st) < 0)
            return ptl_error_set(err, -errno, "log: %s", strerror(errno));
        if (w->offset >= (uint64_t)st.st_size) {
            if (w->offset > (uint64_t)st.st_size)
                ptl_log_warning(
                    "attempt=%lld: the server has %llu bytes of log, here are %llu; nothing more is sent",
                    (long long)w->id, (unsigned long long)w->offset, (unsigned long long)st.st_size);
            w->at_end = true;
            return 0;
        }
        uint64_t before = w->offset;
        int64_t left = st.st_size - (int64_t)w->offset;
        int r = ship_chunk(w, fd, left < PTL_WIRE_LOG_CHUNK_MAX ? left : PTL_WIRE_LOG_CHUNK_MAX, err);
        if (r < 0)
            return r;
        if (w->offset <= before && ++stuck > STUCK_MAX)
            return ptl_error_set(err, -EAGAIN, "log upload: the server stays at offset %llu",
                                 (unsigned long long)w->offset);
    }
    return 0;
}

/* ---- remove ---- */

static int remove_dir(struct job_work *w, struct ptl_error *err)
{
    if (w->kept_dir && rename(w->dir, w->kept_dir) == 0)
        return 0;
    /* out of the way first: a restart in the middle must not adopt half a directory */
    PTL_FREE char *job = ptl_fs_join(w->dir, "job.json");
    unlink(job);
    return ptl_fs_remove_tree(w->dir, err);
}

void work_run(struct ptl_work *work)
{
    struct job_work *w = (struct job_work *)work;
    struct ptl_error err = PTL_ERROR_INIT;
    int r = 0;
    switch (w->kind) {
    case WORK_FETCH:
        r = fetch(w, &err);
        break;
    case WORK_SETTLE:
        r = settle(w, &err);
        break;
    case WORK_PUBLISH:
        r = publish(w, &err);
        break;
    case WORK_SHIP:
        r = ship(w, &err);
        break;
    case WORK_REMOVE:
        r = remove_dir(w, &err);
        break;
    }
    work->result = r;
    if (r < 0) {
        w->err = err;
        w->err.code = r;
    }
}
