/* http-private.h - what the blocking and the asynchronous form of a call share. */
#ifndef PTL_HTTP_PRIVATE_H
#define PTL_HTTP_PRIVATE_H
#include <portolan/http.h>
#include <curl/curl.h>

struct ptl_http_transfer {
    CURL *easy;
    struct curl_slist *headers;
    struct ptl_http_request req; /* strings owned when owns_request */
    struct ptl_http_answer answer;
    struct ptl_error problem; /* set by a callback that stopped the transfer */
    int64_t body_left, body_at;
    char curl_error[CURL_ERROR_SIZE];
};
int ptl_http_transfer_init(struct ptl_http_transfer *t, const struct ptl_http_request *req,
                           struct ptl_error *err);
/* Turns the outcome of curl into 0 or a negative errno with err. */
int ptl_http_transfer_result(struct ptl_http_transfer *t, CURLcode code, struct ptl_error *err);
void ptl_http_transfer_done(struct ptl_http_transfer *t);
#endif
