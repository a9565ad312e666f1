/* fuzz_browser_console.c - whatever a page posts as an event or a browser drains as its log: no crash, one
 * line each, within bounds, and only UTF-8 in what goes on to the manifest. */
#include <console.h>
#include <portolan/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PTL_FREE char *text = malloc(size + 1);
    if (!text || size > 65536)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    struct ptl_console *c = ptl_console_new(-1, 10000, "http://127.0.0.1:1/a-token-of-ours/");
    ptl_console_add_event(c, text, size);
    PTL_JSON *drained = NULL;
    if (ptl_json_parse(text, size, "fuzz", &drained, NULL) == 0)
        ptl_console_add_drained(c, drained);
    (void)ptl_console_judge(text, text);
    PTL_FREE char *tidy = ptl_console_tidy(c, text);
    if (strpbrk(tidy, "\n\r\t\033") || strlen(tidy) > 4200)
        abort();
    PTL_JSON *errors = ptl_console_errors(c);
    PTL_FREE char *out = ptl_json_text(errors);
    PTL_JSON *again = NULL;
    if (ptl_json_parse(out, strlen(out), "errors", &again, NULL) != 0 || json_array_size(again) > 51)
        abort();
    ptl_console_free(c);
    return 0;
}
