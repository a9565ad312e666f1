/* adb.h - a client of the adb *server* (the "smart socket" protocol), over a unix or TCP socket.
 * The same for a phone on USB, an Android emulator and the embedded device (device.h).
 *
 * Every call opens one connection, blocks until its answer, its deadline or a cancel, and closes it; nothing
 * is kept between calls but the address. One thread at a time per object.
 *
 * Failures are negative errno with a sentence in err, the same set for every call:
 *   -ETIMEDOUT   the deadline of `wait` passed               -ECANCELED   *wait->cancelled became non-zero
 *   -ECONNRESET  the connection ended in the middle of an answer: the device or the server went away
 *   -EREMOTEIO   the server or the device refused (FAIL); err quotes its words
 *   -EPROTO      an answer that is none of the protocol      -EFBIG       an answer above the bound that
 * applies other        of connect() and of local files */
#ifndef PTL_MOBILE_ADB_H
#define PTL_MOBILE_ADB_H
#include <portolan/base.h>
#include <portolan/buf.h>
#include <stdatomic.h>
#include <sys/types.h>

enum {
    PTL_ADB_SERIAL_MAX = 127,
    PTL_ADB_PATH_MAX = 1000,       /* of a path on the device; adbd's own bound is 1024 */
    PTL_ADB_REPLY_MAX = 0xffff,    /* length field: four hex digits */
    PTL_ADB_PACKET_MAX = 1 << 20,  /* one shell_v2 packet; adbd sends far smaller ones */
    PTL_ADB_SYNC_CHUNK = 64 << 10, /* SYNC_DATA_MAX of the protocol, both directions */
};

struct ptl_adb; /* where the server listens; opaque */

/* When to give up. `cancelled` may be NULL; it is looked at before every wait and at least every 100 ms in
 * it. */
struct ptl_adb_wait {
    int64_t deadline_mono_ms;
    const atomic_int *cancelled;
};

/* `address`: "unix:/path/of/socket" (any length), "tcp:HOST:PORT" (HOST numeric or a name), or NULL for the
 * usual tcp:127.0.0.1:5037. No I/O. -EINVAL when it is none of these. */
PTL_NODISCARD int ptl_adb_new(const char *address, struct ptl_adb **ret, struct ptl_error *err);
struct ptl_adb *ptl_adb_free(struct ptl_adb *adb); /* NULL ok; returns NULL */
PTL_DEFINE_FREEP(struct ptl_adb, ptl_adb_free)
const char *ptl_adb_address(const struct ptl_adb *adb); /* borrowed; for messages */

PTL_NODISCARD int ptl_adb_version(struct ptl_adb *adb, const struct ptl_adb_wait *wait, int *ret,
                                  struct ptl_error *err);
/* host:connect. The server says OKAY even when it could not: 0 only when its text says "connected" or
 * "already connected", PTL_AGAIN when the text says anything else (err quotes it). */
PTL_NODISCARD int ptl_adb_connect(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                                  struct ptl_error *err);
PTL_NODISCARD int ptl_adb_disconnect(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                                     struct ptl_error *err);

struct ptl_adb_device {
    char serial[PTL_ADB_SERIAL_MAX + 1];
    char state[32]; /* "device" is usable; "offline", "unauthorized", "recovery", … are not */
};
/* At most `max` entries into ret; *ret_n is how many there are in ret. */
PTL_NODISCARD int ptl_adb_devices(struct ptl_adb *adb, const struct ptl_adb_wait *wait,
                                  struct ptl_adb_device *ret, size_t max, size_t *ret_n,
                                  struct ptl_error *err);
/* Whether the server lists `serial` as "device"; ret_state (may be NULL) gets its state or "absent". */
PTL_NODISCARD int ptl_adb_is_ready(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                                   bool *ret_ready, char ret_state[32], struct ptl_error *err);
/* Comma-separated feature names of one device. */
PTL_NODISCARD int ptl_adb_features(struct ptl_adb *adb, const char *serial, const struct ptl_adb_wait *wait,
                                   struct ptl_buf *ret, struct ptl_error *err);

/* What a command on the device printed. `out` and `err_out` are called with pieces as they come; NULL drops
 * them. A non-zero answer (negative errno) ends the command and is returned. */
typedef int ptl_adb_out_fn(void *ctx, bool is_stderr, const char *data, size_t len);

/* Runs `command` by the device's shell (shell,v2,raw). 0 and *ret_exit (0..255) only after the protocol's
 * exit packet: a connection that ends without one is -ECONNRESET, whatever was printed. Closing the
 * connection (deadline, cancel) ends the command on the device. At most max_bytes of output in all, else
 * -EFBIG. */
PTL_NODISCARD int ptl_adb_shell(struct ptl_adb *adb, const char *serial, const char *command,
                                const struct ptl_adb_wait *wait, uint64_t max_bytes, ptl_adb_out_fn *out,
                                void *ctx, int *ret_exit, struct ptl_error *err);
/* The same into buffers (NULL drops), at most 1 MiB in all. */
PTL_NODISCARD int ptl_adb_shell_buf(struct ptl_adb *adb, const char *serial, const char *command,
                                    const struct ptl_adb_wait *wait, struct ptl_buf *out,
                                    struct ptl_buf *err_out, int *ret_exit, struct ptl_error *err);
/* Single-quotes one word for the device's shell and appends it. */
int ptl_adb_quote(struct ptl_buf *b, const char *word);

struct ptl_adb_stat {
    uint32_t mode;       /* 0: absent (or not readable: the protocol does not tell them apart) */
    uint32_t size_bytes; /* modulo 2^32 */
    uint32_t mtime;
};
PTL_NODISCARD int ptl_adb_stat(struct ptl_adb *adb, const char *serial, const char *remote,
                               const struct ptl_adb_wait *wait, struct ptl_adb_stat *ret,
                               struct ptl_error *err);
/* Copies one regular file to the device (its directories are made) and asks the device for its size and mode
 * afterwards: a copy that is not all there is -EIO. `mode` & 0777. */
PTL_NODISCARD int ptl_adb_push(struct ptl_adb *adb, const char *serial, const char *local, const char *remote,
                               mode_t mode, const struct ptl_adb_wait *wait, struct ptl_error *err);
/* Every regular file below `local` (links are followed, at most 50000) over one connection. ret_files,
 * ret_bytes may be NULL. */
PTL_NODISCARD int ptl_adb_push_tree(struct ptl_adb *adb, const char *serial, const char *local,
                                    const char *remote, const struct ptl_adb_wait *wait, unsigned *ret_files,
                                    uint64_t *ret_bytes, struct ptl_error *err);
/* Copies one file from the device to `local` (made new, mode 0644, written beside it and renamed). Files
 * above max_bytes are -EFBIG; a file that comes shorter or longer than the device said is -EIO. `local` is
 * untouched on failure. */
PTL_NODISCARD int ptl_adb_pull(struct ptl_adb *adb, const char *serial, const char *remote, const char *local,
                               uint64_t max_bytes, const struct ptl_adb_wait *wait, struct ptl_error *err);
#endif
