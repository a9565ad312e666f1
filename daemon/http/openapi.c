/* openapi.c - the OpenAPI 3.1 document, made from the table of routes and the schemas beside it, so that it
 * cannot say what the daemon does not do. */
#include "server.h"
#include "openapi_schemas.h" /* generated from openapi_schemas.json: ptl_openapi_schemas[] */
#include <ctype.h>

static json_t *ref(const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", name));
}

static json_t *content(const char *schema)
{
    /* what is found in a log comes object by object */
    const char *type = ptl_str_eq(schema, "LogFound") ? "application/x-ndjson" : "application/json";
    return json_pack("{s:{s:{s:o}}}", "content", type, "schema", ref(schema));
}

static json_t *parameter(const char *name, size_t len, const char *in, bool required)
{
    return json_pack("{s:s%,s:s,s:b,s:{s:s}}", "name", name, len, "in", in, "required", required, "schema",
                     "type", "string");
}

static json_t *parameters(const struct ptl_route *r)
{
    json_t *list = json_array();
    for (const char *p = strchr(r->pattern, '{'); p; p = strchr(p + 1, '{'))
        json_array_append_new(list, parameter(p + 1, strcspn(p + 1, "}"), "path", true));
    for (const char *p = r->query; p && *p;) {
        size_t n = strcspn(p, ",");
        json_array_append_new(list, parameter(p, n, "query", false));
        p += n + (p[n] == ',');
    }
    return list;
}

static json_t *operation(const struct ptl_route *r)
{
    PTL_BUF id = PTL_BUF_INIT;
    for (const char *p = r->method; *p; p++)
        ptl_buf_putc(&id, (char)tolower((unsigned char)*p));
    for (const char *p = r->pattern; *p; p++)
        if (isalnum((unsigned char)*p))
            ptl_buf_putc(&id, *p);
        else if (id.len && id.data[id.len - 1] != '_')
            ptl_buf_putc(&id, '_');
    json_t *ok = r->answer ? content(r->answer) : json_object();
    json_object_set_new(ok, "description", json_string(r->summary));
    json_t *problem = json_pack("{s:s,s:{s:{s:o}}}", "description", "What went wrong and what to do",
                                "content", "application/problem+json", "schema", ref("Problem"));
    json_t *o = json_pack("{s:s,s:s,s:o,s:{s:o,s:o}}", "operationId", ptl_buf_str(&id), "summary", r->summary,
                          "parameters", parameters(r), "responses", "2XX", ok, "default", problem);
    if (r->body) {
        json_t *body = content(r->body);
        json_object_set_new(body, "required", json_true());
        json_object_set_new(o, "requestBody", body);
    }
    json_object_set_new(o, "security",
                        r->may == PTL_MAY_NOTHING ? json_array() : json_pack("[{s:[]}]", "bearer"));
    return o;
}

json_t *ptl_openapi(void)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < ptl_routes_count; i++) {
        const struct ptl_route *r = &ptl_routes[i];
        json_t *path = json_object_get(paths, r->pattern);
        if (!path) {
            json_object_set_new(paths, r->pattern, json_object());
            path = json_object_get(paths, r->pattern);
        }
        char method[8] = {0};
        for (size_t k = 0; r->method[k] && k < sizeof(method) - 1; k++)
            method[k] = (char)tolower((unsigned char)r->method[k]);
        json_object_set_new(path, method, operation(r));
    }
    json_t *schemas = json_loads(ptl_openapi_schemas, 0, NULL);
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:o,s:{s:o,s:{s:{s:s,s:s}}}}", "openapi", "3.1.0", "info", "title",
                     "Portolan", "version", PTL_VERSION, "description",
                     "From a git push to a server, a phone and a browser, knowing the hazards on the way.",
                     "paths", paths, "components", "schemas", schemas ? schemas : json_object(),
                     "securitySchemes", "bearer", "type", "http", "scheme", "bearer");
}
