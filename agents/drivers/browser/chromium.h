/* chromium.h - one chromedriver, and with it one browser, that belong to one verify: own profile, own pid
 * namespace, an unprivileged user, a memory ceiling, and an end that is certain. Blocking; the thread that
 * started it. */
#ifndef PTL_BROWSER_CHROMIUM_H
#define PTL_BROWSER_CHROMIUM_H
#include <portolan/base.h>
#include <stdatomic.h>

struct ptl_chromium_spec {
    const char *chromedriver; /* absolute path of the program */
    const char *browser;      /* absolute path of the browser it will be asked to start */
    const char *work_dir;     /* absolute; made anew, given to the browser's user, removed at the end */
    const char *path;         /* $PATH for it; NULL: a plain one */
    uint64_t memory_bytes;    /* of everything together, 0 = none */
    const char *cgroup_name;
    int64_t deadline_mono_ms;    /* for starting */
    const atomic_int *cancelled; /* may be NULL */
    void (*on_line)(void *ctx,
                    const char *line); /* what chromedriver and the browser print; the caller's thread */
    void *ctx;
};

struct ptl_chromium; /* opaque; defined in chromium.c */
/* Returns when chromedriver listens. 0, -ECANCELED, -ETIMEDOUT or another negative errno with a sentence. */
PTL_NODISCARD int ptl_chromium_start(const struct ptl_chromium_spec *spec, struct ptl_chromium **ret,
                                     struct ptl_error *err);
struct ptl_chromium *ptl_chromium_free(
    struct ptl_chromium *c); /* kills without grace; NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_chromium, ptl_chromium_free)

unsigned ptl_chromium_port(const struct ptl_chromium *c);
const char *ptl_chromium_how(const struct ptl_chromium *c); /* isolation, as ptl_sandbox_how() */
/* Passes on what was printed, looks at the memory where no cgroup does. True while chromedriver runs and
 * nothing was killed by this call. To be called at least every second. */
bool ptl_chromium_is_alive(struct ptl_chromium *c);
/* Ends everything at once. Afterwards the two below are final. */
void ptl_chromium_stop(struct ptl_chromium *c);
bool ptl_chromium_was_oom(struct ptl_chromium *c); /* the kernel, or our own watch where there is no cgroup */
uint64_t ptl_chromium_peak_bytes(const struct ptl_chromium *c); /* 0 unknown */

/* Real path of the first of `names` (NULL-ended) that can be run: $variable when set, else in PATH.
 * Caller frees; NULL when there is none. */
char *ptl_chromium_find(const char *variable, const char *const *names);
#endif
