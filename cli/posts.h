/* posts.h - questions that people asked, read from a folder as their study published it: JSON lines of posts,
 * a workbook of labels, also inside zips. Blocking. */
#ifndef PTL_CLI_POSTS_H
#define PTL_CLI_POSTS_H
#include <portolan/buf.h>
#include <portolan/json.h>

/* What a folder held. */
struct cli_posts {
    json_t *cases; /* {"so-123": {"id","url","title","text","platform","labels","tags","answered","asked_at"}}
                      as POST /kb/cases takes them */
    json_t *labels;              /* {"123": {"platform","label"}} of the workbooks */
    size_t files, books, broken; /* broken: lines that were no post */
};
void cli_posts_done(struct cli_posts *p);
/* 0; -EINVAL, -ENOENT, -ENOMEM with the file named. Labels are put to their posts. */
PTL_NODISCARD int cli_posts_read(const char *dir, struct cli_posts *ret, struct ptl_error *err);
/* HTML as plain text: tags out, blocks on lines of their own, entities resolved. Appends. */
void cli_posts_plain(const char *html, struct ptl_buf *ret);
#endif
