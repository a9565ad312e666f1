/* config.c - which server, as whom. Three levels, the first that names something wins: options, environment,
 * the file that `portolan login` writes. A token in that file is for the server in that file; it is never
 * sent to another. */
#include "cli.h"
#include <fcntl.h>
#include <portolan/fs.h>
#include <portolan/settings.h>
#include <sys/stat.h>
#include <termios.h>

enum { TOKEN_MAX = 4096, CONFIG_MAX = 65536 };

char *cli_config_dir(void)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        return ptl_fs_join(xdg, "portolan");
    return home && home[0] == '/' ? ptl_fs_join(home, ".config/portolan") : NULL;
}

/* Open files of ours only when nobody else could have read or written them. */
static int open_private(struct cli *c, const char *path, int *ret)
{
    PTL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return cli_fail(c, CLI_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return cli_fail(c, CLI_FAILED, "%s: not a file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return cli_fail(c, CLI_FAILED, "%s: belongs to another user; nothing in it is trusted", path);
    if (st.st_mode & 077)
        return cli_fail(
            c, CLI_FAILED,
            "%s: others may read or write it (mode %04o); run: chmod 600 %s, and ask for a new token if others use this machine",
            path, (unsigned)(st.st_mode & 07777), path);
    *ret = fd;
    fd = -1;
    return 0;
}

static int read_all(struct cli *c, int fd, const char *what, size_t max, struct ptl_buf *ret)
{
    char piece[4096];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_fail(c, CLI_FAILED, "%s: cannot be read: %s", what, strerror(errno));
        if (n == 0)
            return 0;
        if (ret->len + (size_t)n > max)
            return cli_fail(c, CLI_USAGE, "%s: longer than %zu bytes", what, max);
        ptl_buf_add(ret, piece, (size_t)n);
        explicit_bzero(piece, (size_t)n);
    }
}

static int one_token(struct cli *c, const char *what, struct ptl_buf *text, char **ret)
{
    while (text->len && strchr("\r\n \t", text->data[text->len - 1]))
        text->data[--text->len] = 0;
    if (text->len == 0)
        return cli_fail(c, CLI_USAGE, "%s: no token in it", what);
    for (size_t i = 0; i < text->len; i++)
        if ((unsigned char)text->data[i] <= 0x20 || (unsigned char)text->data[i] >= 0x7f)
            return cli_fail(c, CLI_USAGE, "%s: expected one token on one line", what);
    *ret = ptl_buf_take(text, NULL);
    return 0;
}

int cli_read_token_file(struct cli *c, const char *path, char **ret)
{
    PTL_BUF text = PTL_BUF_INIT;
    PTL_CLOSE int fd = -1;
    bool from_stdin = ptl_str_eq(path, "-");
    int r = from_stdin ? 0 : open_private(c, path, &fd);
    if (r == 0)
        r = read_all(c, from_stdin ? STDIN_FILENO : fd, from_stdin ? "standard input" : path, TOKEN_MAX,
                     &text);
    return r ? r : one_token(c, from_stdin ? "standard input" : path, &text, ret);
}

int cli_read_secret(struct cli *c, const char *prompt, size_t max, char **ret)
{
    struct termios old, quiet;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    PTL_BUF text = PTL_BUF_INIT;
    if (tty) {
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        fprintf(c->err, "%s", prompt);
        fflush(c->err);
        char *line = NULL;
        size_t cap = 0;
        ssize_t n = getline(&line, &cap, stdin);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', c->err);
        ptl_buf_add(&text, line, n > 0 ? (size_t)n : 0);
        if (line)
            explicit_bzero(line, cap);
        free(line);
    } else {
        int r = read_all(c, STDIN_FILENO, "standard input", max + 1, &text);
        if (r)
            return r;
    }
    if (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = 0;
    if (text.len == 0)
        return cli_fail(c, CLI_USAGE, "nothing came from standard input");
    if (text.len > max || strlen(text.data) != text.len)
        return cli_fail(c, CLI_USAGE, "standard input: expected text of at most %zu bytes without NUL", max);
    *ret = ptl_buf_take(&text, NULL);
    return 0;
}

struct config {
    char *server, *token_file, *ca_file;
};
static const struct ptl_setting settings[] = {
    {.name = "server",
     .type = PTL_SET_STRING,
     .offset = offsetof(struct config,                                               server),
     .help = "https://host[:port]"                                                                             },
    {.name = "token-file",
     .type = PTL_SET_STRING,
     .offset = offsetof(struct config,                                               token_file),
     .help = "file with the token"                                                                             },
    {.name = "ca-file",    .type = PTL_SET_STRING, .offset = offsetof(struct config, ca_file),    .help = "PEM"},
};

static const char *const levels[] = {"PORTOLAN_SERVER", "PORTOLAN_TOKEN_FILE", "PORTOLAN_CA_FILE"};

static int load_config(struct cli *c, struct config *ret)
{
    PTL_FREE char *dir = cli_config_dir();
    PTL_FREE char *path = dir ? ptl_fs_join(dir, "config") : NULL;
    PTL_CLOSE int fd = -1;
    struct ptl_error err = PTL_ERROR_INIT;
    memset(ret, 0, sizeof(*ret));
    if (!path || !ptl_fs_exists(path))
        return 0;
    int r = open_private(c, path, &fd);
    if (r)
        return r;
    /* What the file itself says: the environment is a level of its own, and a token may go to the file's
     * server only. */
    char *kept[PTL_ARRAY_LEN(levels)];
    for (size_t i = 0; i < PTL_ARRAY_LEN(levels); i++) {
        kept[i] = ptl_xstrdup(getenv(levels[i]));
        unsetenv(levels[i]);
    }
    int loaded = ptl_settings_load(settings, PTL_ARRAY_LEN(settings), ret, path, 0, NULL, NULL, &err);
    for (size_t i = 0; i < PTL_ARRAY_LEN(levels); i++) {
        if (kept[i])
            setenv(levels[i], kept[i], 1);
        free(kept[i]);
    }
    return loaded < 0 ? cli_fail(c, CLI_FAILED, "%s", err.text) : 0;
}

static const char *env_of(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static int pick_token(struct cli *c, const struct config *f)
{
    const char *token = cli_text(c, "token"), *file = cli_text(c, "token-file"), *origin = "the options";
    if (!token && !file) {
        token = env_of("PORTOLAN_TOKEN");
        file = env_of("PORTOLAN_TOKEN_FILE");
        origin = "the environment";
    }
    if (!token && !file && f->token_file) {
        if (!ptl_str_eq(c->server, f->server)) {
            c->token_origin = ptl_xasprintf("the token of 'portolan login' is for %s and was not sent to %s",
                                            f->server ? f->server : "no server", c->server);
            return 0;
        }
        file = f->token_file;
        origin = "portolan login";
    }
    int r = 0;
    if (token)
        c->token = ptl_xstrdup(token);
    else if (file)
        r = cli_read_token_file(c, file, &c->token);
    if (c->token)
        c->token_origin = ptl_xasprintf("the token comes from %s", origin);
    return r;
}

int cli_settle(struct cli *c)
{
    struct config f;
    if (c->client)
        return 0;
    int r = load_config(c, &f);
    if (r)
        return r;
    const char *env_server = env_of("PORTOLAN_SERVER"), *server = cli_text(c, "server");
    if (!server)
        server = env_server ? env_server : f.server;
    if (!server)
        r = cli_fail(
            c, CLI_USAGE,
            "no server is known; run: portolan login --server https://HOST, or give --server or PORTOLAN_SERVER");
    if (r == 0) {
        c->server = ptl_xstrdup(server);
        for (size_t n = strlen(c->server); n && c->server[n - 1] == '/';)
            c->server[--n] = 0;
        r = pick_token(c, &f);
    }
    if (r == 0) {
        const char *ca = cli_text(c, "ca-file");
        ca = ca ? ca : env_of("PORTOLAN_CA_FILE") ? env_of("PORTOLAN_CA_FILE") : f.ca_file;
        if (ca && access(ca, R_OK) < 0)
            r = cli_fail(c, CLI_USAGE, "--ca-file %s: cannot be read: %s", ca, strerror(errno));
        c->ca_file = ca ? ptl_xstrdup(ca) : NULL;
    }
    ptl_settings_free(settings, PTL_ARRAY_LEN(settings), &f);
    if (r)
        return r;
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_client_options o = {
        .server = c->server, .token = c->token, .ca_file = c->ca_file, .user_agent = "portolan/" PTL_VERSION};
    if (ptl_client_new(&o, &c->client, &err) < 0)
        return cli_fail(c, CLI_USAGE, "%s", err.text);
    return 0;
}

int cli_config_write(struct cli *c, const char *server, const char *token, const char *ca_file,
                     char **ret_path)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_FREE char *dir = cli_config_dir();
    if (!dir)
        return cli_fail(c, CLI_FAILED,
                        "neither XDG_CONFIG_HOME nor HOME names a directory to write the configuration to");
    PTL_FREE char *token_path = ptl_fs_join(dir, "token");
    PTL_FREE char *path = ptl_fs_join(dir, "config");
    PTL_FREE char *ca = ca_file ? realpath(ca_file, NULL) : NULL;
    PTL_BUF text = PTL_BUF_INIT;
    ptl_buf_printf(&text, "# written by portolan login\nserver = %s\ntoken-file = %s\n", server, token_path);
    if (ca)
        ptl_buf_printf(&text, "ca-file = %s\n", ca);
    PTL_FREE char *line = ptl_xasprintf("%s\n", token);
    int r = ptl_fs_mkdirs(dir, 0700, &err);
    if (r == 0)
        r = ptl_fs_write_atomic(token_path, line, strlen(line), 0600, &err);
    explicit_bzero(line, strlen(line));
    if (r == 0)
        r = ptl_fs_write_atomic(path, ptl_buf_str(&text), text.len, 0600, &err);
    if (r < 0)
        return cli_fail(c, CLI_FAILED, "%s", err.text);
    *ret_path = PTL_TAKE(path);
    return 0;
}
