/* test_openapi.c - the OpenAPI document and the routes are the same thing: every route is in it with its
 * parameters and security, nothing else is, every reference resolves, operation ids are unique. */
#include "server.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static void lower(const char *in, char *out, size_t size)
{
    size_t i = 0;
    for (; in[i] && i + 1 < size; i++)
        out[i] = (char)tolower((unsigned char)in[i]);
    out[i] = 0;
}

static void every_route_and_nothing_else(void **state PTL_UNUSED)
{
    PTL_JSON *doc = ptl_openapi();
    assert_non_null(doc);
    assert_string_equal(ptl_json_str(doc, "openapi", ""), "3.1.0");
    json_t *paths = json_object_get(doc, "paths"), *path, *op;
    const char *name, *method;
    size_t n = 0;
    json_object_foreach(paths, name, path) json_object_foreach(path, method, op) n++;
    assert_int_equal(n, ptl_routes_count);
    for (size_t i = 0; i < ptl_routes_count; i++) {
        const struct ptl_route *r = &ptl_routes[i];
        char m[8];
        lower(r->method, m, sizeof(m));
        op = json_object_get(json_object_get(paths, r->pattern), m);
        if (!op)
            fail_msg("%s %s is not in the document", r->method, r->pattern);
        bool open = json_array_size(json_object_get(op, "security")) == 0;
        if (open != (r->may == PTL_MAY_NOTHING))
            fail_msg("%s %s: its security in the document is not the table's", r->method, r->pattern);
        size_t wanted = 0;
        for (const char *p = r->pattern; (p = strchr(p, '{')) != NULL; p++)
            wanted++;
        for (const char *p = r->query; p && *p; p++)
            wanted += p == r->query || p[-1] == ',';
        if (json_array_size(json_object_get(op, "parameters")) != wanted)
            fail_msg("%s %s: %zu parameters in the document, %zu in the table", r->method, r->pattern,
                     json_array_size(json_object_get(op, "parameters")), wanted);
        if (!r->summary || strlen(r->summary) < 5)
            fail_msg("%s %s has no summary", r->method, r->pattern);
    }
}

static void check_refs(const json_t *j, const json_t *schemas)
{
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_array(j)) {
        json_array_foreach((json_t *)j, i, v) check_refs(v, schemas);
        return;
    }
    json_object_foreach((json_t *)j, key, v)
    {
        const char *target = ptl_str_eq(key, "$ref") ? json_string_value(v) : NULL;
        if (target &&
            (!ptl_str_starts(target, "#/components/schemas/") || !json_object_get(schemas, target + 21)))
            fail_msg("%s points at nothing", target);
        check_refs(v, schemas);
    }
}

static void references_resolve_and_ids_are_unique(void **state PTL_UNUSED)
{
    PTL_JSON *doc = ptl_openapi(), *ids = json_object();
    const json_t *schemas = json_object_get(json_object_get(doc, "components"), "schemas");
    assert_true(json_object_size(schemas) > 10);
    check_refs(doc, schemas);
    json_t *path, *op;
    const char *name, *method;
    json_object_foreach(json_object_get(doc, "paths"), name, path) json_object_foreach(path, method, op)
    {
        const char *id = ptl_json_str(op, "operationId", "");
        if (json_object_get(ids, id))
            fail_msg("operationId %s is used twice", id);
        json_object_set_new(ids, id, json_true());
    }
}

/* A route that nobody may use, or that everybody may by accident, is a mistake in the table. */
static void open_routes_are_few_and_meant(void **state PTL_UNUSED)
{
    static const char *const meant[] = {"/healthz",
                                        "/readyz",
                                        "/version",
                                        "/metrics",
                                        "/openapi.json",
                                        "/schema/portolan.schema.json",
                                        "/badge/{project}.svg",
                                        "/badge/{project}.json",
                                        "/hooks/{project}",
                                        "/api/v1/session",
                                        "/api/v1/login/codes",      /* asks to be let in */
                                        "/api/v1/login/codes/poll", /* with a secret of its own */
                                        "/api/v1/agent/enroll"};
    for (size_t i = 0; i < ptl_routes_count; i++) {
        if (ptl_routes[i].may != PTL_MAY_NOTHING)
            continue;
        bool fine = false;
        for (size_t k = 0; k < PTL_ARRAY_LEN(meant); k++)
            fine |= ptl_str_eq(meant[k], ptl_routes[i].pattern);
        if (!fine)
            fail_msg("%s %s asks for no token and is not one of those meant to", ptl_routes[i].method,
                     ptl_routes[i].pattern);
    }
    assert_int_equal(ptl_role_may("root"), 0);
    assert_int_equal(ptl_role_may("viewer"), PTL_MAY_READ);
    assert_false(ptl_role_may("curator") & PTL_MAY_MANAGE);
    assert_true(ptl_role_may("admin") & PTL_MAY_ADMIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_route_and_nothing_else),
                                       cmocka_unit_test(references_resolve_and_ids_are_unique),
                                       cmocka_unit_test(open_routes_are_few_and_meant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
