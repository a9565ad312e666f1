/* web.c - the web UI's files, built into the program (daemon/webui). Pages are one document that reads its
 * own address; everything else has the hash of its content in its name and may be kept for ever. The
 * document's policy lets nothing but this origin's own files run, show or be asked: no inline script or style
 * exists. Loop thread; no I/O: the bytes are part of the program and are sent from where they lie. */
#include "server.h"
#include "webui.h"
#include <stdio.h>

/* First part of every page's path. The UI itself decides what is below. */
static const char *const pages[] = {"runs",     "failures", "knowledge", "risk",  "matrix", "agents",
                                    "projects", "people",   "notify",    "audit", "login",  "device"};

static bool is_page(const char *path)
{
    if (ptl_str_eq(path, "/"))
        return true;
    size_t n = strcspn(path + 1, "/");
    for (size_t i = 0; i < PTL_ARRAY_LEN(pages); i++)
        if (strlen(pages[i]) == n && strncmp(pages[i], path + 1, n) == 0)
            return true;
    return false;
}

static const struct ptl_webui_file *find(const char *path)
{
    for (size_t i = 0; i < ptl_webui_files_count; i++)
        if (ptl_str_eq(ptl_webui_files[i].path, path))
            return &ptl_webui_files[i];
    return NULL;
}

/* Good enough for what browsers send: "gzip" named and not with q=0. */
static bool takes_gzip(struct ptl_request *q)
{
    const char *accept = ptl_request_header(q, "Accept-Encoding"),
               *at = accept ? strstr(accept, "gzip") : NULL;
    return at && !ptl_str_starts(at, "gzip;q=0,") && !ptl_str_eq(at, "gzip;q=0");
}

static void answer(struct ptl_request *q, const struct ptl_webui_file *f, bool page, bool head, int status)
{
    const char *known = ptl_request_header(q, "If-None-Match");
    ptl_answer_header(q, "ETag", f->etag);
    ptl_answer_header(q, "Vary", "Accept-Encoding");
    ptl_answer_header(q, "Cache-Control",
                      page           ? "no-cache"
                      : f->immutable ? "public, max-age=31536000, immutable"
                                     : "public, max-age=3600");
    ptl_answer_header(q, "Referrer-Policy", "no-referrer");
    if (page) {
        ptl_answer_header(q, "Content-Security-Policy",
                          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                          "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
                          "frame-ancestors 'none'");
        ptl_answer_header(q, "X-Frame-Options", "DENY");
        ptl_answer_header(q, "Cross-Origin-Opener-Policy", "same-origin");
        ptl_answer_header(q, "Permissions-Policy", "camera=(), microphone=(), geolocation=()");
    } else {
        ptl_answer_header(q, "Cross-Origin-Resource-Policy", "same-origin");
    }
    struct evbuffer *b = evbuffer_new();
    if (status == 200 && known && strstr(known, f->etag)) {
        ptl_answer_buffer(q, 304, NULL, b);
    } else {
        bool gz = f->gz_len > 0 && takes_gzip(q);
        const unsigned char *data = gz ? f->gz : f->raw;
        size_t len = gz ? f->gz_len : f->raw_len;
        if (gz)
            ptl_answer_header(q, "Content-Encoding", "gzip");
        if (head) {
            char text[24];
            snprintf(text, sizeof(text), "%zu", len);
            ptl_answer_header(q, "Content-Length", text);
        } else {
            evbuffer_add_reference(b, data, len, NULL, NULL);
        }
        ptl_answer_buffer(q, status, f->type, b);
    }
    evbuffer_free(b);
}

bool ptl_web_serve(struct ptl_request *q, const char *path, bool head, bool taken)
{
    const struct ptl_webui_file *f;
    if (is_page(path)) {
        f = find("/index.html");
        if (f)
            answer(q, f, true, head, 200);
        else if (ptl_str_eq(path, "/"))
            ptl_answer_text(q, 200, "text/plain; charset=utf-8",
                            "portoland " PTL_VERSION ": built without its web UI (PTL_WEBUI=OFF), so here is "
                            "only the API: see /openapi.json, or use the command 'portolan'.\n");
        else
            return false;
        return true;
    }
    f = find(path);
    if (f && !ptl_str_eq(path, "/index.html")) {
        answer(q, f, false, head, 200);
        return true;
    }
    const char *accept = ptl_request_header(q, "Accept");
    f = find("/index.html");
    if (taken || !f || !accept || !strstr(accept, "text/html") || ptl_str_starts(path, "/api/"))
        return false;
    answer(q, f, true, head, 404);
    return true;
}
