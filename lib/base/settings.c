/* settings.c - one table says every setting; file, environment and command line fill it in that order. */
#include <portolan/clock.h>
#include <portolan/fs.h>
#include <portolan/settings.h>
#include <ctype.h>

static void *field(void *settings, const struct ptl_setting *s)
{
    return (char *)settings + s->offset;
}

static int put(const struct ptl_setting *s, void *settings, const char *text, const char *where,
               struct ptl_error *err)
{
    const char *shown = s->is_secret ? "(a secret)" : text;
    if (s->type == PTL_SET_STRING) {
        char **p = field(settings, s);
        free(*p);
        *p = ptl_xstrdup(text);
        return 0;
    }
    int64_t v = 0;
    const char *want = "a whole number";
    int r = 0;
    char *end = NULL;
    switch (s->type) {
    case PTL_SET_INT:
        errno = 0;
        v = strtoll(text, &end, 10);
        r = end == text || *end || errno ? -EINVAL : 0;
        break;
    case PTL_SET_BOOL:
        want = "true or false";
        if (ptl_str_eq(text, "true") || ptl_str_eq(text, "yes") || ptl_str_eq(text, "on") ||
            ptl_str_eq(text, "1"))
            v = 1;
        else if (ptl_str_eq(text, "false") || ptl_str_eq(text, "no") || ptl_str_eq(text, "off") ||
                 ptl_str_eq(text, "0"))
            v = 0;
        else
            r = -EINVAL;
        break;
    case PTL_SET_DURATION:
        want = "a duration such as 30s or 5m";
        r = ptl_duration_parse(text, &v);
        break;
    case PTL_SET_SIZE:
        want = "a size such as 64MiB";
        r = ptl_size_parse(text, &v);
        break;
    case PTL_SET_STRING:
        break;
    }
    if (r < 0)
        return ptl_error_set(err, -EINVAL, "%s: %s = %s: expected %s", where, s->name, shown, want);
    if ((s->min || s->max) && (v < s->min || v > s->max))
        return ptl_error_set(err, -ERANGE, "%s: %s = %s: expected a value from %lld to %lld%s", where,
                             s->name, shown, (long long)s->min, (long long)s->max,
                             s->type == PTL_SET_DURATION ? " ms"
                             : s->type == PTL_SET_SIZE   ? " bytes"
                                                         : "");
    *(int64_t *)field(settings, s) = v;
    return 0;
}

static const struct ptl_setting *find(const struct ptl_setting *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (ptl_str_eq(table[i].name, name))
            return &table[i];
    return NULL;
}

static int unknown(const struct ptl_setting *table, size_t n, const char *where, const char *name,
                   struct ptl_error *err)
{
    PTL_FREE const char **names = ptl_xcalloc(n + 1, sizeof(*names));
    for (size_t i = 0; i < n; i++)
        names[i] = table[i].name;
    const char *near = ptl_str_nearest(name, names);
    if (near)
        return ptl_error_set(err, -EINVAL, "%s: no setting '%s'; did you mean '%s'?", where, name, near);
    return ptl_error_set(err, -EINVAL, "%s: no setting '%s' (--help lists them)", where, name);
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        s[--n] = 0;
    return s;
}

static int load_file(const struct ptl_setting *table, size_t n, void *settings, const char *file,
                     struct ptl_error *err)
{
    PTL_BUF b = PTL_BUF_INIT;
    int r = ptl_fs_read(file, 1 << 20, &b, err);
    if (r < 0)
        return r;
    char *save = b.data;
    for (int line = 1; save && *save; line++) {
        char *text = save;
        save = strchr(text, '\n');
        if (save)
            *save++ = 0;
        char *eq, *key = trim(text);
        if (!*key || *key == '#')
            continue;
        PTL_FREE char *where = ptl_xasprintf("%s:%d", file, line);
        if (!(eq = strchr(key, '=')))
            return ptl_error_set(err, -EINVAL, "%s: expected 'name = value'", where);
        *eq = 0;
        key = trim(key);
        char *value = trim(eq + 1);
        size_t len = strlen(value);
        if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
            value[len - 1] = 0;
            value++;
        }
        const struct ptl_setting *s = find(table, n, key);
        if (!s)
            return unknown(table, n, where, key, err);
        if ((r = put(s, settings, value, where, err)) < 0)
            return r;
    }
    return 0;
}

static bool is_bool_word(const char *s)
{
    static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(words); i++)
        if (ptl_str_eq(words[i], s))
            return true;
    return false;
}

static void env_name(const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "PORTOLAN_%s", name);
    for (char *p = ret; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

int ptl_settings_load(const struct ptl_setting *table, size_t n, void *settings, const char *file, int argc,
                      char **argv, int *ret_index, struct ptl_error *err)
{
    int r;
    for (size_t i = 0; i < n; i++)
        if (table[i].dflt && (r = put(&table[i], settings, table[i].dflt, "default", err)) < 0)
            return r;
    if (file && (r = load_file(table, n, settings, file, err)) < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        char name[128];
        env_name(table[i].name, name, sizeof(name));
        const char *v = getenv(name);
        if (v && (r = put(&table[i], settings, v, name, err)) < 0)
            return r;
    }
    int i = 0;
    for (; i < argc; i++) {
        if (!ptl_str_starts(argv[i], "--") || argv[i][2] == 0)
            break;
        PTL_FREE char *name = ptl_xstrdup(argv[i] + 2);
        char *eq = strchr(name, '=');
        const char *value = NULL;
        if (eq) {
            *eq = 0;
            value = eq + 1;
        }
        const struct ptl_setting *s = find(table, n, name);
        if (!s)
            return unknown(table, n, "command line", name, err);
        if (!value && s->type == PTL_SET_BOOL && !(i + 1 < argc && is_bool_word(argv[i + 1])))
            value = "true";
        if (!value && ++i < argc)
            value = argv[i];
        if (!value)
            return ptl_error_set(err, -EINVAL, "command line: --%s needs a value", name);
        if ((r = put(s, settings, value, "command line", err)) < 0)
            return r;
    }
    if (ret_index)
        *ret_index = i;
    return 0;
}

void ptl_settings_free(const struct ptl_setting *table, size_t n, void *settings)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].type == PTL_SET_STRING) {
            char **p = field(settings, &table[i]);
            free(*p);
            *p = NULL;
        }
}

void ptl_settings_help(const struct ptl_setting *table, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        char name[128];
        env_name(table[i].name, name, sizeof(name));
        fprintf(out, "  --%-24s %s%s%s%s\n", table[i].name, table[i].help,
                table[i].dflt && !table[i].is_secret ? " [" : "",
                table[i].dflt && !table[i].is_secret ? table[i].dflt : "",
                table[i].dflt && !table[i].is_secret ? "]" : "");
        fprintf(out, "  %26s $%s\n", "", name);
    }
}
