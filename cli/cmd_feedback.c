/* cmd_feedback.c - portolan feedback confirm, correct, reject, list, undo: a person's word on a diagnosis. */
#include "cli.h"

static int say(struct cli *c, const char *verdict, const char *challenge)
{
    PTL_JSON *answer = NULL;
    PTL_JSON *body = json_pack("{s:s}", "verdict", verdict);
    const char *comment = cli_text(c, "comment");
    int64_t attempt;
    int r = cli_attempt_id(c, cli_arg(c, 0), &attempt);
    if (r)
        return r;
    if (challenge)
        json_object_set_new(body, "challenge", json_string(challenge));
    if (comment)
        json_object_set_new(body, "comment", json_string(comment));
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/feedback", (long long)attempt);
    r = cli_call(c, "POST", path, body, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    PTL_FREE char *now = cli_clean(ptl_json_str(answer, "challenge_id", "not a deployment challenge"));
    PTL_FREE char *said = cli_clean(ptl_json_str(answer, "said_id", "unclear"));
    cli_print(c, "attempt %lld: %s", (long long)attempt, now);
    if (!ptl_str_eq(now, said))
        cli_print(c, " (the diagnosis said %s)", said);
    cli_print(c, "\n");
    cli_note(c, "failures like it are judged so from now on; to take it back: portolan feedback undo %lld",
             (long long)ptl_json_i64(answer, "id", 0));
    return 0;
}

int cli_cmd_feedback_confirm(struct cli *c)
{
    return say(c, "confirm", NULL);
}

int cli_cmd_feedback_correct(struct cli *c)
{
    return say(c, "correct", cli_arg(c, 1));
}

int cli_cmd_feedback_reject(struct cli *c)
{
    return say(c, "not_a_challenge", NULL);
}

int cli_cmd_feedback_list(struct cli *c)
{
    static const struct cli_column columns[] = {
        {"ID",        true,  false},
        {"AT",        false, false},
        {"BY",        false, true },
        {"VERDICT",   false, false},
        {"CHALLENGE", false, true },
        {"SAID",      false, true },
        {"STATE",     false, false},
        {"COMMENT",   false, true },
    };
    PTL_JSON *list = NULL;
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *f;
    int64_t attempt;
    int r = cli_attempt_id(c, cli_arg(c, 0), &attempt);
    if (r)
        return r;
    PTL_FREE char *path = ptl_xasprintf("/api/v1/attempts/%lld/feedback", (long long)attempt);
    r = cli_list(c, path, NULL, NULL, 50, &list);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, list);
    PTL_CLEANUP(cli_table_freep) struct cli_table *t = cli_table_new(columns, PTL_ARRAY_LEN(columns));
    json_array_foreach(json_object_get(list, "items"), i, f)
    {
        char at[32];
        bool in_force = ptl_json_flag(f, "in_force", false);
        cli_table_cell(t, CLI_PLAIN, "%lld", (long long)ptl_json_i64(f, "id", 0));
        cli_table_cell(t, CLI_PLAIN, "%s", cli_time_of(f, "at", at));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(f, "by_name", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(f, "verdict", ""));
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(f, "challenge_id", ""));
        cli_table_cell(t, CLI_DIM, "%s", ptl_json_str(f, "said_id", ""));
        cli_table_cell(t, in_force ? CLI_GREEN : CLI_DIM, "%s",
                       in_force                             ? "in force"
                       : ptl_json_str(f, "undone_at", NULL) ? "undone"
                                                            : "replaced");
        cli_table_cell(t, CLI_PLAIN, "%s", ptl_json_str(f, "comment", ""));
    }
    cli_table_print(t, &b, c->width, c->color);
    cli_print_buf(c, &b);
    if (cli_table_rows(t) == 0)
        cli_note(c, "nobody said anything of attempt %lld", (long long)attempt);
    return 0;
}

int cli_cmd_feedback_undo(struct cli *c)
{
    PTL_JSON *answer = NULL;
    PTL_FREE char *path = cli_path("/api/v1/feedback/{}", cli_arg(c, 0), NULL);
    int r = cli_call(c, "DELETE", path, NULL, &answer);
    if (r)
        return r;
    if (c->json)
        return cli_print_json(c, answer);
    cli_print(c, "feedback %s on attempt %lld is taken back\n", cli_arg(c, 0),
              (long long)ptl_json_i64(answer, "attempt_id", 0));
    return 0;
}
