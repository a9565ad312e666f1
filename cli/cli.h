/* cli.h - the command `portolan`: one table of commands, a parser driven by it, and what their handlers
 * share.
 *
 * A handler returns one of the exit codes. Helpers that talk to the server or read files return 0, or the
 * exit code after having said on stderr what went wrong and what to do next, so that handlers pass it up. One
 * thread; only follow.c starts a second one. */
#ifndef PTL_CLI_H
#define PTL_CLI_H
#include <portolan/buf.h>
#include <portolan/client.h>
#include <portolan/json.h>
#include <stdio.h>

/* Documented in `portolan help` and the man page; scripts rely on them. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1, /* the run or stage is red, the file does not pass, a local file could not be written */
    CLI_USAGE = 2,  /* this command line, or a value the server refused */
    CLI_UNREACHED = 3, /* the server does not answer, or the token may not do this */
    CLI_ABSENT = 4,    /* there is no such thing */
    CLI_CONFLICT = 5,  /* it exists already, or its state does not allow this */
};

enum cli_type {
    CLI_TEXT,
    CLI_FLAG,
    CLI_INT,
    CLI_DURATION, /* number in ms */
    CLI_CHOICE,   /* `value` is "a|b|c" */
    CLI_FILE,
    CLI_DIR,
    CLI_COMMAND, /* words of a command (help) */
};

struct cli_option {
    const char *name; /* "project"; NULL ends a list */
    char letter;      /* 'p', or 0 */
    enum cli_type type;
    const char *value; /* placeholder "NAME", or the choices; NULL for flags */
    const char *help;
    bool many;        /* may be given more than once */
    int64_t min, max; /* of CLI_INT and CLI_DURATION; both 0: no limit */
};

struct cli_arg {
    const char *name; /* "RUN"; NULL ends */
    enum cli_type type;
    const char *choices; /* for CLI_CHOICE */
    bool optional, many;
};

struct cli;
struct cli_command {
    const char *words; /* "project secret set" */
    int (*run)(struct cli *c);
    struct cli_arg args[3];
    const struct cli_option *options; /* NULL: none but the global ones */
    const char *summary;              /* one line */
    const char *detail;               /* more for the man page and --help; may be NULL */
};
extern const struct cli_command cli_commands[]; /* commands.c */
extern const size_t cli_commands_count;
extern const struct cli_option cli_globals[]; /* ends with a NULL name */
/* The first line of help about a noun, or NULL (commands.c). */
const char *cli_noun_summary(const char *noun);

/* ---- parse.c: argv → what was asked for. Pure. */
enum { CLI_OPTIONS_MAX = 64, CLI_ARGS_MAX = 64 };
struct cli_set {
    const struct cli_option *option;
    const char *text;
    int64_t number;
};
struct cli_asked {
    const struct cli_command *command; /* NULL: none was named */
    char words[64];                    /* the words read so far: "project secret" */
    const char *args[CLI_ARGS_MAX];
    size_t n_args;
    struct cli_set set[CLI_OPTIONS_MAX];
    size_t n_set;
    bool help, version;
};
/* argv[0] is the program. 0, or CLI_USAGE with err (with the nearest right spelling). Strings are borrowed.
 */
PTL_NODISCARD int cli_parse(int argc, const char *const *argv, struct cli_asked *ret, struct ptl_error *err);
const struct cli_set *cli_asked_get(const struct cli_asked *a,
                                    const char *name); /* the last one; NULL: not given */

/* ---- text.c: text for people. Pure but for the clock's zone. */
/* A copy without anything that steers a terminal: control bytes, C1, bidirectional overrides, broken UTF-8
 * become
 * '?' (newline and tab become blanks). Caller frees; never NULL. */
char *cli_clean(const char *s);
size_t cli_width(const char *s);              /* columns on a terminal */
char *cli_cut(const char *s, size_t columns); /* at most so many columns, with … when cut. Caller frees. */
/* Appends log bytes so that they cannot steer a terminal: colours (SGR) stay, CR LF and lone CR become
 * newlines, other control bytes '?'. A piece may end within a sequence: *state carries it over; start with 0.
 */
struct cli_log_filter {
    unsigned char held[16];
    size_t n;
    bool after_cr;
};
void cli_log_clean(struct cli_log_filter *f, const void *data, size_t len, struct ptl_buf *ret);
/* "2026-11-23T07:25:30.12Z" → ms since 1970; -1 when it is no such time. */
int64_t cli_time_parse(const char *rfc3339);
void cli_time_local(int64_t wall_ms, char ret[32]); /* "2026-11-23 08:25:30", local zone */
const char *cli_time_of(const json_t *o, const char *key,
                        char ret[32]); /* the same of a member; "-" when absent */
void cli_number(const json_t *v, const char *kind,
                char ret[32]); /* kind: "error" 2.3e-05, "share" 98.4 %, "ms" 3.1 ms, "bytes" 41.2 KiB,
                                  "cosine"; "-" when absent */

/* ---- table.c: aligned columns. */
enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GREEN, CLI_RED, CLI_YELLOW, CLI_CYAN };
struct cli_column {
    const char *title;
    bool right;   /* numbers */
    bool shrinks; /* cut with … when the terminal is narrower than the table */
};
struct cli_table; /* heap */
struct cli_table *cli_table_new(const struct cli_column *columns, size_t n);
void cli_table_free(struct cli_table *t);
PTL_DEFINE_FREEP(struct cli_table, cli_table_free)
/* Cells from left to right; a row is full after n cells. Text is cleaned. "" and NULL show as "-". */
void cli_table_cell(struct cli_table *t, enum cli_style style, const char *fmt, ...) PTL_PRINTF(3, 4);
size_t cli_table_rows(const struct cli_table *t);
/* width 0: no limit. Columns without anything but "-" are left out. */
void cli_table_print(const struct cli_table *t, struct ptl_buf *ret, int width, bool color);
void cli_styled(struct ptl_buf *b, enum cli_style style, bool color, const char *text); /* text as it is */
enum cli_style cli_state_style(const char *state);

/* ---- the command at work */
struct cli {
    struct cli_asked asked;
    FILE *out, *err;
    bool json, quiet, out_tty, color;
    int width, height; /* of the terminal; 0: not a terminal */
    /* who and where, settled by config.c on first use */
    char *server, *token, *ca_file, *token_origin;
    struct ptl_client *client;
};
/* All of a program: argv in, exit code out. */
int cli_main(int argc, const char *const *argv, FILE *out, FILE *err);

const char *cli_arg(const struct cli *c, size_t i);            /* NULL: not given */
const char *cli_text(const struct cli *c, const char *option); /* NULL: not given */
const char *cli_texts(const struct cli *c, const char *option,
                      size_t i); /* the i-th of a `many`; NULL ends */
bool cli_flag(const struct cli *c, const char *option);
int64_t cli_int(const struct cli *c, const char *option, int64_t dflt);

/* "portolan: …" on stderr; returns code. */
int cli_fail(struct cli *c, int code, const char *fmt, ...) PTL_PRINTF(3, 4);
void cli_warn(struct cli *c, const char *fmt, ...) PTL_PRINTF(2, 3);
/* What a person wants to hear besides the result (stderr); silent with --quiet. */
void cli_note(struct cli *c, const char *fmt, ...) PTL_PRINTF(2, 3);
void cli_print(struct cli *c, const char *fmt, ...) PTL_PRINTF(2, 3);
void cli_print_buf(struct cli *c, const struct ptl_buf *b);
/* A difference of files below an empty line: lines stay lines, nothing in them may steer the terminal. NULL:
 * nothing. */
void cli_print_diff(struct cli *c, const char *diff);
int cli_print_json(struct cli *c, const json_t *j); /* indented; returns 0 */

/* ---- config.c: server, token, CA from options, environment, file */
char *cli_config_dir(void); /* $XDG_CONFIG_HOME/portolan or ~/.config/portolan; caller frees; NULL: no home */
/* Fills c->server, token, ca_file. The config's token goes to the config's server only. */
PTL_NODISCARD int cli_settle(struct cli *c);
/* One line of a file that only its owner may read (0600), or of stdin for "-". */
PTL_NODISCARD int cli_read_token_file(struct cli *c, const char *path, char **ret);
PTL_NODISCARD int cli_config_write(struct cli *c, const char *server, const char *token, const char *ca_file,
                                   char **ret_path);
/* All of stdin (a secret): at most max bytes, one newline at the end removed. Asks without echo on a
 * terminal. */
PTL_NODISCARD int cli_read_secret(struct cli *c, const char *prompt, size_t max, char **ret);

/* ---- api.c: calls */
/* "/api/v1/projects/{}/secrets/{}" with each {} replaced, URL-encoded. Arguments are strings, NULL-ended. */
char *cli_path(const char *pattern, ...) __attribute__((sentinel));
PTL_NODISCARD int cli_call(struct cli *c, const char *method, const char *path, const json_t *body,
                           json_t **ret);
/* The same for calls that may take longer than the usual half minute. */
PTL_NODISCARD int cli_call_within(struct cli *c, int64_t timeout_ms, const char *method, const char *path,
                                  const json_t *body, json_t **ret);
PTL_NODISCARD int cli_get(struct cli *c, const char *path, json_t **ret);
/* What is shown beside the answer when it is there: NULL, and nothing said, when it is not. */
json_t *cli_get_quietly(struct cli *c, const char *path);
/* Says an API failure and returns its exit code. */
int cli_api_failed(struct cli *c, int result, int status, const struct ptl_error *err);
/* A parameter more for the query of `path`; none when `value` is NULL or empty. Options are named with
 * dashes, the API's parameters with underscores. */
void cli_put_query(struct ptl_buf *path, const char *name, const char *value);
/* A list over its pages: {"items":[…],"next":…|null} with at most `limit` items. `path` may have a query.
 * A "cut" that the last page told of is in it too. `cursor` is the query parameter that goes on ("after",
 * "before"); NULL: one page. `start` is where to begin; may be NULL. */
PTL_NODISCARD int cli_list(struct cli *c, const char *path, const char *cursor, const char *start,
                           int64_t limit, json_t **ret);
/* A list as a table, --json as it came. Options of the command: --limit, and one named like the cursor. */
struct cli_listing {
    const struct cli_column *columns;
    size_t n;
    void (*row)(struct cli_table *t, const json_t *item);
    const char *cursor; /* NULL: one page */
    const char *none;   /* said when there is none; NULL: nothing */
};
PTL_NODISCARD int cli_list_show(struct cli *c, const char *path, const struct cli_listing *l);
/* Tells on stderr that there is more than the list shows. */
void cli_note_more(struct cli *c, const json_t *list, const char *cursor);

/* ---- ids.c: what people type for runs, stages and attempts */
struct cli_run_ref {
    int64_t id;       /* > 0: run id, the rest is unset */
    int64_t number;   /* "#3", "project#3" */
    char project[64]; /* "" when only "#3" was given */
};
/* "12", "#3", "project#3". 0 or -EINVAL. */
PTL_NODISCARD int cli_run_ref_parse(const char *text, struct cli_run_ref *ret, struct ptl_error *err);
/* "RUN/STAGE" (the stage keeps its slashes) or a bare id. 0 with *ret_run "" for a bare id; or -EINVAL. */
PTL_NODISCARD int cli_stage_ref_parse(const char *text, int64_t *ret_id, char ret_run[128],
                                      const char **ret_stage, struct ptl_error *err);
PTL_NODISCARD int cli_run_id(struct cli *c, const char *text, int64_t *ret); /* asks the server for "#3" */
PTL_NODISCARD int cli_run_get(struct cli *c, const char *text, json_t **ret_run);
/* A stage by id (only "id" is set then) or RUN/STAGE (as in the run's answer). */
PTL_NODISCARD int cli_stage_get(struct cli *c, const char *text, json_t **ret_stage);
/* An attempt by id, RUN/STAGE (its latest attempt) or RUN/STAGE@N (its N-th). */
PTL_NODISCARD int cli_attempt_id(struct cli *c, const char *text, int64_t *ret);
const char *cli_project(struct cli *c);     /* --project, $PORTOLAN_PROJECT; NULL */
char *cli_ref_name(const char *ref);        /* "main" → "refs/heads/main"; caller frees */
const char *cli_ref_short(const char *ref); /* the other way round; borrowed */

/* ---- show.c: a run and its stages for people */
/* The table of stages of a run as the API tells it (also made by exec). */
void cli_show_stages(struct ptl_buf *b, const json_t *run, int width, bool color);
void cli_show_head(struct ptl_buf *b, const json_t *run, int width, bool color);
/* What is known about a red stage: reasons of the report, summary and quoted lines of the diagnosis (`all` of
 * them, or the best), what to do next. */
void cli_show_red(struct ptl_buf *b, const json_t *stage, bool all, int width, bool color);
void cli_show_report(struct ptl_buf *b, const json_t *report, int width, bool color);
/* "digits#3" or "run 12". */
void cli_run_name(const json_t *run, char ret[128]);
int cli_run_exit(const json_t *run); /* CLI_OK for green, CLI_FAILED for another end; -1 while it is open */

/* ---- verdict.c: a diagnosis for people */
void cli_show_verdict(struct ptl_buf *b, const json_t *diagnosis, int width, bool color);

/* ---- follow.c: event streams that resume */
/* Calls fn for each event, resuming after breaks by Last-Event-ID, until fn returns non-zero (then CLI_OK),
 * the server says that the stream is over ("end" is the caller's to know), or nothing was reached for
 * retry_ms. */
PTL_NODISCARD int cli_follow(struct cli *c, const char *path, int64_t retry_ms, ptl_client_event_fn *fn,
                             void *ctx);
struct cli_watch; /* a stream on a thread of its own that only says "something happened" */
struct cli_watch *cli_watch_new(struct cli *c, const char *path, int64_t retry_ms);
/* Waits for an event, at most timeout_ms. 1 event(s), 0 time, -1 the stream has ended: *ret_exit says how. */
int cli_watch_wait(struct cli_watch *w, int64_t timeout_ms, int *ret_exit);
void cli_watch_free(struct cli_watch *w);
void cli_pause(int64_t ms); /* so as not to ask too often */

/* ---- help.c, completion.c */
void cli_help(struct ptl_buf *b,
              const char *words); /* "": all; "project": its verbs; a command: everything */
void cli_man(struct ptl_buf *b);
PTL_NODISCARD int cli_completion(struct ptl_buf *b, const char *shell); /* bash, zsh, fish; -EINVAL */

/* ---- local.c: this machine's files and programs */
char *cli_beside(
    const char *name); /* path of a program beside this one, in the build tree, or NULL. Caller frees. */
char *cli_find_program(const char *name); /* beside, or in PATH, or NULL. Caller frees. */
/* recipe.yml of every recipe below a folder, as JSON. */
PTL_NODISCARD int cli_recipes_load(const char *root, json_t **ret, struct ptl_error *err);
char *cli_recipes_root(
    struct cli *c); /* --recipes, $PORTOLAN_RECIPES, beside the installed program; NULL. Caller frees. */
char *cli_git(const char *dir,
              const char *const *args); /* output of git without the last newline, or NULL. Caller frees. */
/* Copies the working tree at `root` into `to`: what git tracks and does not ignore, or all files. ret_files
 * counts. */
PTL_NODISCARD int cli_snapshot(struct cli *c, const char *root, const char *to, size_t *ret_files);
PTL_NODISCARD int cli_mkdirs_for(struct cli *c, const char *file); /* the directories above a file */

/* clang-format off */
/* the past */
#define CLI_HANDLERS_HISTORY(X) \
    X(failures_search) X(failures_show) X(similar) X(resolution_list) X(resolution_show) \
    X(resolution_confirm) X(resolution_reject) X(trends)
#define CLI_HANDLERS(X) \
    X(login) X(whoami) X(project_add) X(project_list) X(project_show) X(project_set) \
    X(project_remove) X(project_secret_set) X(project_secret_list) X(project_secret_remove) \
    X(project_hook) X(project_deliveries) X(project_pushes) X(hook_install) X(hook_post_receive) X(run_start) \
    X(run_list) X(run_show) X(run_compare) X(run_watch) X(run_cancel) X(run_rerun) X(why) X(stage_list) \
    X(stage_approve) X(stage_decline) X(attempt_list) X(logs) X(report) X(artifacts_list) \
    X(artifacts_get) X(agent_list) X(agent_enrol) X(agent_drain) X(agent_activate) X(agent_remove) \
    X(token_create) X(token_list) X(token_revoke) X(lint) X(preflight) X(init) X(schema) X(events) X(audit) \
    X(reproduce) X(exec) X(completion) X(help) X(diagnose)
/* cmd_risk.c, cmd_assignment.c, cmd_person.c, cmd_notify.c */
#define CLI_HANDLERS_RISK(X) \
    X(risk) X(risk_backtest) X(board) X(assign) X(take) X(handback) X(assignment_list) \
    X(assignment_show) X(assignment_comment) X(assignment_done) X(assignment_due) \
    X(assignment_check) X(assignment_watch) X(assignment_unwatch) X(person_list) X(person_show) \
    X(person_add) X(person_set) X(person_merge)
/* cmd_feedback.c, cmd_kb_posts.c */
#define CLI_HANDLERS_FEEDBACK(X) \
    X(feedback_confirm) X(feedback_correct) X(feedback_reject) X(feedback_list) X(feedback_undo) X(kb_import_posts) \
    X(kb_cases_list) X(kb_cases_export) X(notify_channel_add) X(notify_channel_list) X(notify_channel_set) X(notify_channel_remove) X(notify_channel_test) X(notify_deliveries)
/* the knowledge base */
#define CLI_HANDLERS_KB(X) \
    X(kb_list) X(kb_show) X(kb_add) X(kb_edit) X(kb_retire) X(kb_restore) X(kb_try) X(kb_apply) \
    X(kb_export) X(kb_import) X(kb_history) X(kb_compile) X(kb_train) X(kb_model_show) \
    X(kb_model_set) X(kb_model_reset) X(drill_list) X(drill_run) \
    X(drill_coverage)
/* clang-format on */
#define X(name) int cli_cmd_##name(struct cli *c);
CLI_HANDLERS_HISTORY(X)
CLI_HANDLERS(X)
CLI_HANDLERS_RISK(X)
CLI_HANDLERS_KB(X)
CLI_HANDLERS_FEEDBACK(X)
#undef X
#endif
