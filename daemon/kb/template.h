/* template.h - what failures of one kind have in common once their names, numbers and places are masked: the
 * template of a line, and a fingerprint over the lines that say most. Pure; any thread. */
#ifndef PTL_KB_TEMPLATE_H
#define PTL_KB_TEMPLATE_H
#include <portolan/base.h>

enum {
    PTL_KB_TEMPLATE_LINE_MAX = 2048, /* bytes of a line that are looked at */
    PTL_KB_TEMPLATE_MAX = 400,       /* bytes of a template */
    PTL_KB_FINGERPRINT_HEX = 17      /* with NUL */
};

/* `line` need not end with NUL. Numbers, versions, sizes, times and lists of them become <n>, what stands in
 * quotes <q>, paths and files <path>, addresses <url>, long hexadecimal words and UUIDs <hex>; a time at the
 * beginning is left out; white space is one space. The same line gives the same template whatever machine,
 * day or model it is from. Masking a template again changes nothing. Returns heap text, the caller's; "" when
 * nothing but masks is left (it says nothing); NULL when out of memory. */
char *ptl_kb_template(const char *line, size_t len);

/* 64 bits over `n` templates in their order, as lower-case hex. Of none, and of nothing but empty ones: "".
 */
void ptl_kb_fingerprint(const char *const *templates, size_t n, char ret[PTL_KB_FINGERPRINT_HEX]);
#endif
