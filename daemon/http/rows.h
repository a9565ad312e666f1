/* rows.h - for handlers that read: a statement's rows as the answer. Loop thread only. */
#ifndef PTL_ROWS_H
#define PTL_ROWS_H
#include "server.h"

void ptl_answer_busy(struct ptl_request *q); /* 503: the database queue is full */
/* The project that the request's token is confined to, or NULL. */
const char *ptl_request_confined(struct ptl_request *q);
/* Runs the statement for `fn`, whose context is the request; or answers that it cannot. */
void ptl_ask(struct ptl_request *q, enum ptl_sql sql, struct ptl_args *a, ptl_rows_fn *fn);
/* True: there was an error and it has been answered. */
bool ptl_rows_failed(struct ptl_request *q, const struct ptl_error *err);
/* True when `rows` (with a column "project") are the attempt of the path's {id} and this identity may see it;
 * else it is answered: the error, or 404. */
bool ptl_rows_may_attempt(struct ptl_request *q, const struct ptl_rows *rows, const struct ptl_error *err);
/* 404 for the path's run {id}, with the reason when it was dropped because its pipeline file asks for none.
 */
void ptl_answer_no_run(struct ptl_request *q);
/* A ptl_rows_fn: all rows are the answer's items, there are no further pages. */
void ptl_on_items(void *q, struct ptl_rows *rows, const struct ptl_error *err);
/* Items asked for with one more than `limit`: where that came, it is left out and `next` is member `cursor`
 * of the last one given. NULL: no way on. */
void ptl_answer_page(struct ptl_request *q, json_t *items, const char *cursor, size_t limit);
#endif
