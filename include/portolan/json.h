/* json.h - jansson with our errors. Not shared between threads while written. */
#ifndef PORTOLAN_JSON_H
#define PORTOLAN_JSON_H
#include <portolan/base.h>
#include <jansson.h>

static inline void ptl_json_decrefp(json_t **p)
{
    json_decref(*p);
}
#define PTL_JSON PTL_CLEANUP(ptl_json_decrefp) json_t /* PTL_JSON *j = NULL; */

/* Strict UTF-8, duplicate keys refused, nesting bounded by jansson (2048). `what` names the text in the
 * error. */
PTL_NODISCARD int ptl_json_parse(const char *text, size_t len, const char *what, json_t **ret,
                                 struct ptl_error *err);
PTL_NODISCARD int ptl_json_load(const char *path, size_t max_bytes, json_t **ret, struct ptl_error *err);
PTL_NODISCARD int ptl_json_save(const char *path, const json_t *j, mode_t mode,
                                struct ptl_error *err); /* atomic, sorted keys, indented */
char *ptl_json_text(const json_t *j); /* compact, sorted keys; caller frees; aborts when out of memory */
char *ptl_json_text_utf8(const char *bytes,
                         size_t len); /* a copy in which what is not UTF-8 is U+FFFD; caller frees */

/* Members of an object. `str`, `i64`, `num`, `flag` give the default when absent or null; a value of another
 * type is the default too (use the _req forms on outside data). Strings are borrowed from j. */
const char *ptl_json_str(const json_t *j, const char *key, const char *dflt);
int64_t ptl_json_i64(const json_t *j, const char *key, int64_t dflt);
double ptl_json_num(const json_t *j, const char *key, double dflt);
bool ptl_json_flag(const json_t *j, const char *key, bool dflt);
/* Required members; -EINVAL with "what.key: expected …" . */
PTL_NODISCARD int ptl_json_req_str(const json_t *j, const char *what, const char *key, const char **ret,
                                   struct ptl_error *err);
PTL_NODISCARD int ptl_json_req_i64(const json_t *j, const char *what, const char *key, int64_t *ret,
                                   struct ptl_error *err);
PTL_NODISCARD int ptl_json_req_obj(const json_t *j, const char *what, const char *key, json_t **ret,
                                   struct ptl_error *err);
PTL_NODISCARD int ptl_json_req_arr(const json_t *j, const char *what, const char *key, json_t **ret,
                                   struct ptl_error *err);
#endif
