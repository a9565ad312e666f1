/* inventory.c - what this host can do, as the daemon matches stages against it: only what was found to be
 * there. Blocking: asks the drivers, tries a sandbox, reads the toolchains. Any thread. */
#include "agent-private.h"
#include "attempt-private.h"
#include "sandbox.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <portolan/log.h>

static json_t *words_of(const char *text)
{
    json_t *list = json_array();
    PTL_FREE char *copy = ptl_xstrdup(text ? text : "");
    char *save = NULL;
    for (char *w = strtok_r(copy, ", \t", &save); w; w = strtok_r(NULL, ", \t", &save))
        json_array_append_new(list, json_string(w));
    return list;
}

static bool has_word(const json_t *list, const char *word)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item) if (ptl_str_eq(json_string_value(item), word)) return true;
    return false;
}

/* Host kinds: those asked for (or all, with "auto") whose driver finds what it needs. */
static json_t *hosts_of(const struct agent_settings *set, json_t *inventory, bool verbose)
{
    PTL_JSON *wanted = words_of(set->hosts);
    bool any = has_word(wanted, "auto");
    json_t *hosts = json_array();
    for (int k = 0; k < PTL_HOST_KIND_COUNT; k++) {
        const char *kind = ptl_host_kind_name((enum ptl_host_kind)k);
        struct ptl_error err = PTL_ERROR_INIT;
        if (!any && !has_word(wanted, kind))
            continue;
        const struct ptl_driver *driver = ptl_driver_find(kind);
        if (driver && driver->inventory(inventory, &err) == 0)
            json_array_append_new(hosts, json_string(kind));
        else if (verbose && !any)
            ptl_log_warning("host kind %s was asked for and is left out: %s", kind,
                            driver ? err.text : "not in this build");
        else if (verbose)
            ptl_log_info("not a %s host: %s", kind, driver ? err.text : "not in this build");
    }
    return hosts;
}

static json_t *toolchains_of(bool verbose)
{
    json_t *ready = json_object();
    PTL_JSON *names = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    json_t *item;
    if (ptl_toolchain_list(&names, &err) < 0) {
        if (verbose)
            ptl_log_warning("no toolchains: %s", err.text);
        return ready;
    }
    json_array_foreach(names, i, item)
    {
        PTL_CLEANUP(ptl_toolchain_freep) struct ptl_toolchain *t = NULL;
        if (ptl_toolchain_load(json_string_value(item), &t, &err) < 0)
            ptl_log_warning("toolchain left out: %s", err.text);
        else if (t->versions)
            json_object_set(ready, t->name, t->versions);
    }
    return ready;
}

/* Recipes whose host kind and toolchain are here. */
static json_t *recipes_of(const json_t *hosts, const json_t *toolchains, bool verbose)
{
    json_t *list = json_array(), *item;
    PTL_JSON *names = NULL;
    PTL_JSON *broken = NULL;
    PTL_FREE char *root = ptl_recipe_root();
    struct ptl_error err = PTL_ERROR_INIT;
    size_t i;
    if (ptl_recipe_list(root, &names, &broken, &err) < 0) {
        if (verbose)
            ptl_log_warning("no recipes: %s", err.text);
        return list;
    }
    json_array_foreach(broken, i, item) if (verbose)
        ptl_log_warning("recipe left out: %s", json_string_value(item));
    json_array_foreach(names, i, item)
    {
        PTL_CLEANUP(ptl_recipe_freep) struct ptl_recipe *r = NULL;
        if (ptl_recipe_load(root, json_string_value(item), &r, NULL) == 0 &&
            has_word(hosts, ptl_host_kind_name(r->host)) &&
            (!r->toolchain || json_object_get(toolchains, r->toolchain)))
            json_array_append(list, item);
    }
    return list;
}

json_t *agent_inventory(const struct agent_settings *set, bool verbose)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct utsname u = {0};
    json_t *inv = json_object();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const char *how = ptl_sandbox_probe(&err);
    if (!how && verbose)
        ptl_log_error("stages cannot run here: %s", err.text);
    uname(&u);
    json_object_set_new(inv, "devices", json_array());
    json_t *hosts = how ? hosts_of(set, inv, verbose) : json_array();
    json_t *toolchains = toolchains_of(verbose);
    json_object_set_new(inv, "name", json_string(set->name));
    json_object_set_new(inv, "version", json_string(PTL_VERSION));
    json_object_set_new(inv, "hosts", hosts);
    json_object_set_new(inv, "labels", words_of(set->labels));
    json_object_set_new(inv, "slots", json_integer(set->slots));
    json_object_set_new(inv, "cores", json_integer(cores));
    json_object_set_new(
        inv, "memory_bytes",
        json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * (json_int_t)sysconf(_SC_PAGESIZE)));
    json_object_set_new(inv, "arch", json_string(u.machine));
    json_object_set_new(inv, "toolchains", toolchains);
    json_object_set_new(inv, "recipes", recipes_of(hosts, toolchains, verbose));
    json_object_set_new(inv, "sandbox", json_string(how ? how : "unusable"));
    return inv;
}
