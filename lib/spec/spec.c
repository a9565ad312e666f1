/* spec.c - the pipeline file from text to plan, and the questions a daemon asks of it: does this push start a
 * run, which group does it belong to, do its recipes exist. Pure; a parsed spec is never changed and may be
 * read by any thread. */
#include "check-private.h"
#include <ctype.h>
#include <stdio.h>

struct ptl_spec {
    json_t *plan, *places;
};

struct ptl_spec *ptl_spec_free(struct ptl_spec *s)
{
    if (s) {
        json_decref(s->plan);
        json_decref(s->places);
        free(s);
    }
    return NULL;
}

const json_t *ptl_spec_plan(const struct ptl_spec *s)
{
    return s->plan;
}

int ptl_spec_parse(const char *text, size_t len, const char *filename, struct ptl_spec **ret,
                   struct ptl_spec_diags *diags)
{
    PTL_CLEANUP(yaml_tree_freep) struct yaml_tree *tree = NULL;
    struct yaml_fault f;
    diags_reset(diags, filename);
    int r = yaml_tree_parse(text, len, &tree, &f);
    if (r == -EINVAL)
        diag_add(diags, f.line, f.column, false, "", NULL, NULL, "%s", f.text);
    if (r < 0)
        return r;
    struct check c = {.diags = diags, .places = json_object()};
    PTL_JSON *places = c.places;
    PTL_JSON *doc = places ? spec_check(&c, yaml_root(tree)) : NULL;
    PTL_JSON *plan = doc && !c.no_memory ? spec_plan(doc, places, diags, &c.no_memory) : NULL;
    diags_sort(diags);
    if (diags->errors)
        return -EINVAL;
    struct ptl_spec *s = plan && !c.no_memory ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return -ENOMEM;
    s->plan = PTL_TAKE(plan);
    s->places = PTL_TAKE(places);
    *ret = s;
    return 0;
}

int ptl_spec_check_recipes(const struct ptl_spec *s, const json_t *recipes, struct ptl_spec_diags *diags)
{
    return spec_check_recipes(s->plan, s->places, recipes, diags);
}

/* ---- does a push start a run ---- */

/* The last glob that matches decides; nothing matched: no. */
static bool chosen(const json_t *globs, const char *text)
{
    bool yes = false;
    size_t i;
    json_t *v;
    json_array_foreach(globs, i, v)
    {
        const char *glob = json_string_value(v);
        bool take = glob[0] != '!';
        if (take != yes && ptl_str_glob(glob + !take, text))
            yes = take;
    }
    return yes;
}

bool ptl_spec_on_push(const struct ptl_spec *s, const char *ref, const char *const *changed_paths,
                      size_t n_paths, const char **ret_why_not)
{
    const json_t *push = json_object_get(json_object_get(s->plan, "on"), "push");
    const json_t *branches = json_object_get(push, "branches"), *tags = json_object_get(push, "tags");
    const json_t *paths = json_object_get(push, "paths");
    bool branch = ptl_str_starts(ref, "refs/heads/"), tag = ptl_str_starts(ref, "refs/tags/");
    bool all = json_array_size(branches) == 0 && json_array_size(tags) == 0;
    const char *why = NULL;
    if (!json_is_object(push))
        why = "pushes do not start runs here (on has no push)";
    else if (!branch && !tag)
        why = "neither a branch nor a tag";
    else if (!all && branch && !chosen(branches, ref + 11))
        why = "the branch is not among on.push.branches";
    else if (!all && tag && !chosen(tags, ref + 10))
        why = "the tag is not among on.push.tags";
    else if (branch && changed_paths && json_array_size(paths)) {
        bool any = false;
        for (size_t i = 0; i < n_paths && !any; i++)
            any = chosen(paths, changed_paths[i]);
        why = any ? NULL : "no changed file is among on.push.paths";
    }
    if (why && ret_why_not)
        *ret_why_not = why;
    return !why;
}

bool spec_group_word(const char *s, size_t *ret_len)
{
    const char *p = s + 3;
    if (!ptl_str_starts(s, "${{"))
        return false;
    p += strspn(p, " ");
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz");
    if (!(n == 3 && strncmp(p, "ref", n) == 0) && !(n == 6 && strncmp(p, "branch", n) == 0))
        return false;
    p += n;
    p += strspn(p, " ");
    if (!ptl_str_starts(p, "}}"))
        return false;
    if (ret_len)
        *ret_len = (size_t)(p + 2 - s);
    return true;
}

char *ptl_spec_group(const struct ptl_spec *s, const char *ref)
{
    const char *group = ptl_json_str(json_object_get(s->plan, "concurrency"), "group", NULL);
    if (!group)
        return NULL;
    const char *name = ptl_str_starts(ref, "refs/heads/")  ? ref + 11
                       : ptl_str_starts(ref, "refs/tags/") ? ref + 10
                                                           : ref;
    PTL_BUF b = PTL_BUF_MAX(1 << 20);
    for (const char *p = group; *p;) {
        size_t skip = 1;
        if (spec_group_word(p, &skip))
            ptl_buf_puts(&b, name);
        else
            ptl_buf_putc(&b, *p);
        p += skip;
    }
    for (size_t i = 0; i < b.len; i++)
        b.data[i] = (char)tolower((unsigned char)b.data[i]);
    return ptl_buf_take(&b, NULL);
}

bool ptl_commit_message_skips(const char *message)
{
    static const char *const words[] = {"[skip ci]", "[ci skip]", "[no ci]", "[skip portolan]",
                                        "[portolan skip]"};
    for (size_t i = 0; message && i < PTL_ARRAY_LEN(words); i++)
        if (strcasestr(message, words[i]))
            return true;
    return false;
}
