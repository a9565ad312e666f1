/* base.h - what every file of every program may use: errors, automatic cleanup, small macros.
 * No I/O, no allocation; safe on any thread. */
#ifndef PORTOLAN_BASE_H
#define PORTOLAN_BASE_H
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PTL_NODISCARD        __attribute__((warn_unused_result))
#define PTL_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define PTL_ARRAY_LEN(a)     (sizeof(a) / sizeof((a)[0]))
#define PTL_UNUSED           __attribute__((unused))

/* Documented outcomes that are not failures are positive; failures are negative errno. */
enum { PTL_FULL = 1, PTL_ABSENT = 2, PTL_AGAIN = 3 };

/* A code for the program, a sentence for the person: what happened, to which object, what was expected,
 * what to do next. Owned by the caller, written once by the lowest layer that knows the cause. */
struct ptl_error {
    int code;        /* negative errno, 0 when unset */
    char text[1024]; /* NUL-terminated; cut with "…" when longer */
};
#define PTL_ERROR_INIT                                                                                       \
    {                                                                                                        \
        0,                                                                                                   \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }

/* Writes `code` and the formatted sentence into err (NULL allowed). Returns `code`, so that
 * `return ptl_error_set(err, -EINVAL, "…")` reads well. Control bytes are replaced by '?', because a
 * sentence often quotes what came from outside. */
int ptl_error_set(struct ptl_error *err, int code, const char *fmt, ...) PTL_PRINTF(3, 4);
/* Puts "prefix: " in front of a sentence that a lower layer wrote. Returns err->code (or `code` if err is
 * NULL). */
int ptl_error_prefix(struct ptl_error *err, int code, const char *fmt, ...) PTL_PRINTF(3, 4);

/* PTL_CLEANUP(ptl_x_freep) struct ptl_x *x = NULL; runs ptl_x_freep(&x) when x leaves its scope. */
#define PTL_CLEANUP(fn) __attribute__((cleanup(fn)))
#define PTL_TAKE(p)                                                                                          \
    __extension__({                                                                                          \
        __typeof__(p) *ptl_pp_ = &(p);                                                                       \
        __typeof__(p) ptl_v_ = *ptl_pp_;                                                                     \
        *ptl_pp_ = NULL;                                                                                     \
        ptl_v_;                                                                                              \
    })
/* Defines static `name##p(T **p)` that calls `fn(*p)`. */
#define PTL_DEFINE_FREEP(T, fn)                                                                              \
    static inline void fn##p(T **p)                                                                          \
    {                                                                                                        \
        if (*p)                                                                                              \
            fn(*p);                                                                                          \
    }
static inline void ptl_freep(void *p)
{
    free(*(void **)p);
}
static inline void ptl_closep(int *fd);
#include <unistd.h>
static inline void ptl_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define PTL_FREE  PTL_CLEANUP(ptl_freep)  /* PTL_FREE char *s = NULL; */
#define PTL_CLOSE PTL_CLEANUP(ptl_closep) /* PTL_CLOSE int fd = -1;   */

/* Allocation that cannot be answered sensibly (a few bytes at start): prints and aborts. Everything sized by
 * outside data uses malloc and reports -ENOMEM. */
void *ptl_xcalloc(size_t n, size_t size);
char *ptl_xstrdup(const char *s);
char *ptl_xasprintf(const char *fmt, ...) PTL_PRINTF(1, 2);

static inline bool ptl_str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}
bool ptl_str_starts(const char *s, const char *prefix);
size_t ptl_count_byte(const void *data, size_t len, char c);
bool ptl_str_ends(const char *s, const char *suffix);
/* The nearest of `choices` (NULL-ended) to `word` within edit distance 1 + len/4 (at most 3), or NULL. */
const char *ptl_str_nearest(const char *word, const char *const *choices);
/* Glob with '*' (not '/'), '**' (anything) and '?'; linear in the text per star, no recursion. */
bool ptl_str_glob(const char *pattern, const char *text);
#endif
