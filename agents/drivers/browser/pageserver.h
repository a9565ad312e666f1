/* pageserver.h - the loopback web server that a verify's page is loaded from: the recipe's page, the
 * runtime's files, the model and the golden inputs go out, the outputs that the runtime gave come back.
 * Nothing outside of the named roots is reachable, every request needs the server's token, every body is
 * bounded. The server runs on its own thread with its own event loop; calls are made by the thread that
 * started it. */
#ifndef PTL_BROWSER_PAGESERVER_H
#define PTL_BROWSER_PAGESERVER_H
#include <portolan/base.h>

/* A folder served below "/TOKEN/prefix/". Regular files only; symbolic links may not lead out of it. */
struct ptl_pageserver_root {
    const char *prefix; /* one path part, e.g. "model" */
    const char *dir;    /* absolute */
};
/* A file that lives in this program. */
struct ptl_pageserver_asset {
    const char *path; /* "portolan/harness.mjs"; NULL ends the list */
    const char *data;
    size_t len;
};

/* Ways to be a bad web server, for drills. All off: a good one. */
struct ptl_pageserver_faults {
    bool drop_coop;    /* no COOP/COEP headers: the page is not cross-origin isolated, no wasm threads */
    bool wrong_mime;   /* .wasm as text/plain: streaming compilation refuses it */
    bool missing_wasm; /* .wasm is 404 */
    unsigned
        missing_shard; /* the n-th binary file of root "model" (1-based, in version order) is 404; 0: none */
    unsigned truncated_shard; /* … is cut to half, with a matching Content-Length; 0: none */
};

struct ptl_pageserver_spec {
    const char *bind;                        /* NULL: "127.0.0.1" */
    const char *token;                       /* first path part of every URL; letters, digits, '-', '_' */
    const struct ptl_pageserver_root *roots; /* ended by prefix NULL; root "model" is counted in ret_counts */
    const struct ptl_pageserver_asset *assets; /* may be NULL */
    const char *got_dir;                       /* where "POST got/NAME.npy" puts files; NULL: refused */
    uint64_t max_got_bytes;                    /* all of them together; 0: 1 GiB */
    unsigned max_got_files;                    /* 0: 256 */
    size_t max_post_bytes;                     /* one request's body; 0: 16 MiB */
    struct ptl_pageserver_faults faults;
    /* "POST event": called on the server's thread with the body (<= 64 KiB, NUL-terminated). At most 20000
     * times. */
    void (*on_event)(void *ctx, const char *text, size_t len);
    /* A request that was refused, as a line without newline: "404 model/group1-shard2of3.bin". Server's
     * thread. */
    void (*on_refused)(void *ctx, const char *line);
    void *ctx;
};

struct ptl_pageserver; /* opaque; defined in pageserver.c */
/* Listens on a free port and serves until freed. The spec is copied, strings too. 0 and *ret (caller's), or
 * negative. */
PTL_NODISCARD int ptl_pageserver_start(const struct ptl_pageserver_spec *spec, struct ptl_pageserver **ret,
                                       struct ptl_error *err);
struct ptl_pageserver *ptl_pageserver_free(
    struct ptl_pageserver *s); /* stops, joins; NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_pageserver, ptl_pageserver_free)
unsigned ptl_pageserver_port(const struct ptl_pageserver *s);

struct ptl_pageserver_counts {
    uint64_t model_bytes;  /* of root "model", each file once: what a browser with a cold cache downloads */
    unsigned model_files;  /* of them, without .json */
    uint64_t served_bytes; /* everything that went out */
    unsigned refused;      /* requests answered 4xx/5xx */
    unsigned got_files;    /* complete ones */
};
void ptl_pageserver_counts(struct ptl_pageserver *s, struct ptl_pageserver_counts *ret);
/* The type a path's name stands for; "application/octet-stream" when it stands for none. */
const char *ptl_pageserver_mime(const char *path);
#endif
