/* console.h - what a page said: console lines, uncaught errors, rejected promises, the browser's own
 * complaints. Judges how serious a line is, keeps the errors, writes everything to the attempt's log within a
 * budget. Thread-safe: the page server's thread adds what the page posts, the driver's thread adds what
 * WebDriver drains. */
#ifndef PTL_BROWSER_CONSOLE_H
#define PTL_BROWSER_CONSOLE_H
#include <portolan/base.h>
#include <jansson.h>

enum ptl_console_level { PTL_CONSOLE_DEBUG, PTL_CONSOLE_INFO, PTL_CONSOLE_WARNING, PTL_CONSOLE_ERROR };
const char *ptl_console_level_name(enum ptl_console_level level); /* "debug" "info" "warning" "error" */

/* `level` as the console or WebDriver names it ("error", "warn", "SEVERE", …), corrected by what the text
 * says itself: runtimes compiled from C++ print all of stderr as console errors, with the true severity in
 * the text
 * ("[W:onnxruntime…", "INFO: Created TensorFlow Lite…", "E0000 00:00…"). */
enum ptl_console_level ptl_console_judge(const char *level, const char *text);

struct ptl_console; /* opaque; defined in console.c */
/* `log_fd` is borrowed (-1: no log); at most `log_bytes` are written to it. `base_url`
 * (http://HOST:PORT/TOKEN/, may be NULL) is cut out of lines, and its last part wherever it stands: ports and
 * tokens make equal failures unlike. */
struct ptl_console *ptl_console_new(int log_fd, size_t log_bytes, const char *base_url);
struct ptl_console *ptl_console_free(struct ptl_console *c); /* says how many lines were left out; NULL ok */
PTL_DEFINE_FREEP(struct ptl_console, ptl_console_free)
void ptl_console_set_base(struct ptl_console *c, const char *base_url);

/* `text` as a log line shows it: on one line, printable, bounded, without the page server's address. Caller
 * frees. */
char *ptl_console_tidy(struct ptl_console *c, const char *text);

/* One line about the run itself, "browser: …". Any thread. */
void ptl_console_say(struct ptl_console *c, const char *fmt, ...) PTL_PRINTF(2, 3);
/* What early.js posted: {"kind","level","text","source"}. What is not that is logged as it came. */
void ptl_console_add_event(struct ptl_console *c, const char *text, size_t len);
/* What WebDriver drained: [{"level","source","message"}]. */
void ptl_console_add_drained(struct ptl_console *c, const json_t *entries);

/* Errors that the runtime or the page's code caused, oldest first, "ERROR source: text", at most 50 and then
 * a line that counts the rest; the browser's notes about failed downloads are not among them. New reference.
 */
json_t *ptl_console_errors(struct ptl_console *c);
/* The browser's first own explanation of a failed request (CORS, file:, offline, 404), or "". Caller frees.
 */
char *ptl_console_network_cause(struct ptl_console *c);
char *ptl_console_phase(struct ptl_console *c); /* the last phase the page reported, or "". Caller frees. */
json_t *ptl_console_warnings(
    struct ptl_console *c); /* texts of kind "warning", at most 100. New reference. */
#endif
