/* routes.c - every route of the daemon in one table: method, path, who may, what is accepted. The OpenAPI
 * document is made from it. */
#include "server.h"
#include <portolan/wire.h>

#define READ    PTL_MAY_READ
#define TRIGGER PTL_MAY_TRIGGER
#define MANAGE  PTL_MAY_MANAGE
#define CURATE  PTL_MAY_CURATE
#define ADMIN   PTL_MAY_ADMIN
#define AGENT   PTL_MAY_AGENT
#define OPEN    PTL_MAY_NOTHING
#define H(x)    ptl_on_##x
#define FAILURE_FILTERS                                                                                      \
    "q,in,challenge,taxonomy,platform,target,stage,kind,project,tool,version,operator,"                      \
    "branch,author,agent,end_reason,since,until,resolved"

/* clang-format off */
const struct ptl_route ptl_routes[] = {
    /* method  path                                          may      handler             summary                                                       query                          body             answer        body_max */
    {"GET",    "/healthz",                                   OPEN,    H(get_health),      "Is the process alive",                                       NULL,                          NULL,            NULL,         0},
    {"GET",    "/readyz",                                    OPEN,    H(get_ready),       "Is the database reachable and the schema right",             NULL,                          NULL,            NULL,         0},
    {"GET",    "/version",                                   OPEN,    H(get_version),     "Version of the program",                                     NULL,                          NULL,            "Version",    0},
    {"GET",    "/metrics",                                   OPEN,    H(get_metrics),     "Prometheus metrics; token that may read, or the metrics token", NULL,                       NULL,            NULL,         0},
    {"GET",    "/openapi.json",                              OPEN,    H(get_openapi),     "This document",                                              NULL,                          NULL,            NULL,         0},
    {"GET",    "/schema/portolan.schema.json",               OPEN,    H(get_schema),      "JSON Schema of the pipeline file, for editors",              NULL,                          NULL,            NULL,         0},
    {"GET",    "/badge/{project}.svg",                       OPEN,    H(get_badge),       "State of the newest run of a branch as a picture",           "branch,stage",                NULL,            NULL,         0},
    {"GET",    "/badge/{project}.json",                      OPEN,    H(get_badge_json),  "The same for shields endpoints",                             "branch,stage",                NULL,            "Badge",      0},
#ifndef PTL_NO_HOOK
    {"POST",   "/hooks/{project}",                           OPEN,    H(post_hook),       "Webhook of GitHub, GitLab, Gitea, Forgejo, Standard Webhooks", NULL,                        NULL,            "Delivery",   8 << 20},
#endif
    {"GET",    "/api/v1/cc.xml",                             READ,    H(get_cctray),      "CCTray feed of all projects",                                NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/whoami",                             READ | AGENT, H(get_whoami), "Whose token this is and what it may do",                     NULL,                          NULL,            "Identity",   0},
    {"POST",   "/api/v1/session",                            OPEN,    H(post_session),    "Log a browser in: a person's token for a cookie",             NULL,                          "SessionRequest", "Session",   0},
    {"GET",    "/api/v1/session",                            READ,    H(get_session),     "Who this browser is, and the word that its writes must carry", NULL,                         NULL,            "Session",    0},
    {"DELETE", "/api/v1/session",                            READ,    H(delete_session),  "Log this browser out",                                       NULL,                          NULL,            NULL,         0},
    {"POST",   "/api/v1/lint",                               READ,    H(post_lint),       "Check a pipeline file",                                      NULL,                          "LintRequest",   "LintAnswer", 2 << 20},

    {"GET",    "/api/v1/tokens",                             ADMIN,   H(get_list),        "Tokens, without their secrets",                              "after,limit",                 NULL,            "List",       0},
    {"POST",   "/api/v1/tokens",                             ADMIN,   H(post_token),      "Make a token for a person; shown once",                      NULL,                          "TokenRequest",  "TokenMade",  0},
    {"DELETE", "/api/v1/tokens/{id}",                        ADMIN,   H(delete_token),    "Revoke a token",                                             NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/audit",                              ADMIN,   H(get_list),        "What people changed, newest first",                          "before,limit",                NULL,            "List",       0},

    {"GET",    "/api/v1/agents",                             READ,    H(get_list),        "Agents with their inventories and load",                     "after,limit",                 NULL,            "List",       0},
    {"POST",   "/api/v1/agents/enrol-tokens",                ADMIN,   H(post_enrol_token),"One-time token for a new agent; shown once",                 NULL,                          "EnrolRequest",  "TokenMade",  0},
    {"POST",   "/api/v1/agents/{name}/{state}",              ADMIN,   H(post_agent_state),"state: activate, drain or remove",                           NULL,                          NULL,            "Agent",      0},

    {"GET",    "/api/v1/projects",                           READ,    H(get_list),        "Projects by name",                                           "after,limit",                 NULL,            "List",       0},
    {"POST",   "/api/v1/projects",                           MANAGE,  H(post_project),    "Register a repository",                                      NULL,                          "ProjectRequest","Project",    0},
    {"GET",    "/api/v1/projects/{project}",                 READ,    H(get_one),         "One project",                                                NULL,                          NULL,            "Project",    0},
    {"PATCH",  "/api/v1/projects/{project}",                 MANAGE,  H(patch_project),   "Change a project; what is absent stays",                     NULL,                          "ProjectRequest","Project",    0},
    {"DELETE", "/api/v1/projects/{project}",                 MANAGE,  H(delete_project),  "Archive a project: runs and logs stay",                      NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/projects/{project}/secrets",         MANAGE,  H(get_list),        "Names and policies of secrets",                              NULL,                          NULL,            "List",       0},
    {"PUT",    "/api/v1/projects/{project}/secrets/{name}",  MANAGE,  H(put_secret),      "Set a secret and the refs and stages it is released to",     NULL,                          "SecretRequest", NULL,         0},
    {"DELETE", "/api/v1/projects/{project}/secrets/{name}",  MANAGE,  H(delete_secret),   "Forget a secret",                                            NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/projects/{project}/deliveries",      READ,    H(get_list),        "Webhook deliveries, newest first",                           "before,limit",                NULL,            "List",       0},
    {"POST",   "/api/v1/deliveries/{id}/replay",             TRIGGER, H(post_replay),     "The pushes of a delivery once more: new runs",               NULL,                          NULL,            "Delivery",   0},
    {"GET",    "/api/v1/projects/{project}/pushes",          READ,    H(get_list),        "Pushes, however they were told, and what came of each, newest first", "before,limit",       NULL,            "List",       0},
    {"POST",   "/api/v1/projects/{project}/pushes",          TRIGGER, H(post_push),       "What a post-receive hook saw",                               NULL,                          "PushRequest",   "PushAnswer", 4 << 20},
    {"POST",   "/api/v1/projects/{project}/runs",            TRIGGER, H(post_run),        "Start a run of a branch, tag or commit",                     NULL,                          "RunRequest",    "PushAnswer", 0},

    /* history: failures, what is like them, what turned them green */
    {"GET",    "/api/v1/failures",                           READ,    H(get_failures),    "Search for failures: words, \"quoted texts\" and every fact; newest, likest or costliest first", FAILURE_FILTERS ",sort,cursor,limit", NULL, "FailureList", 0},
    {"GET",    "/api/v1/failures/facets",                    READ,    H(get_failure_facets), "Counts of the facts of the failures that a search finds", FAILURE_FILTERS,               NULL,            "Facets",     0},
    {"GET",    "/api/v1/failures.csv",                       READ,    H(get_failures_csv),"The failures that a search finds, as CSV, at most 50000",    FAILURE_FILTERS ",sort",       NULL,            NULL,         0},
    {"GET",    "/api/v1/attempts/{id}/failure",              READ,    H(get_failure),     "One failed attempt as the history keeps it, also when its log has gone", NULL,              NULL,            "Failure",    0},
    {"GET",    "/api/v1/attempts/{id}/similar",              READ,    H(get_similar),     "The nearest past failures, grouped by template, resolved ones first, with why", "limit",    NULL,            "SimilarList", 0},
    {"GET",    "/api/v1/attempts/{id}/resolutions",          READ,    H(get_attempt_resolutions), "What turned failures like this one green: same template, then same challenge here, then elsewhere", "limit", NULL, "ResolutionList", 0},
    {"GET",    "/api/v1/resolutions",                        READ,    H(get_resolutions), "What turned stages green, newest first",                     "project,challenge,state,before,limit", NULL,   "ResolutionList", 0},
    {"GET",    "/api/v1/resolutions/{id}",                   READ,    H(get_resolution),  "One of them, with files and diff",                           NULL,                          NULL,            "Resolution", 0},
    {"PATCH",  "/api/v1/resolutions/{id}",                   TRIGGER | MANAGE, H(patch_resolution), "Confirm or reject it, write a note to it",           NULL,                          "ResolutionChange", "Resolution", 0},
    {"GET",    "/api/v1/trends",                             READ,    H(get_trends),      "Failures per challenge or category over time, beside the paper's numbers", "by,interval,project,since,until", NULL, "TrendList", 0},
    {"GET",    "/api/v1/trends/operators",                   READ,    H(get_trend_operators), "Operators that failures named, most wanted first, with where", "project,platform,limit", NULL,            "List",       0},
    {"GET",    "/api/v1/trends/toolchains",                  READ,    H(get_trend_toolchains), "Pairs of toolchains by how often they fail",            "project,limit",               NULL,            "List",       0},
    {"GET",    "/api/v1/queries",                            READ,    H(get_saved_queries), "One's own saved searches and those that others share",     NULL,                          NULL,            "List",       0},
    {"POST",   "/api/v1/queries",                            READ,    H(post_saved_query),"Save a search under a name of one's own",                    NULL,                          "SavedQueryRequest", "SavedQuery", 0},
    {"DELETE", "/api/v1/queries/{id}",                       READ,    H(delete_saved_query), "Forget a saved search of one's own",                      NULL,                          NULL,            NULL,         0},

    {"GET",    "/api/v1/runs",                               READ,    H(get_list),        "Runs, newest first",                                         "project,state,ref,commit,before,limit", NULL,  "List",       0},
    {"GET",    "/api/v1/runs/{id}",                          READ,    H(get_run),         "A run with its stages",                                      NULL,                          NULL,            "Run",        0},
    {"POST",   "/api/v1/runs/{id}/cancel",                   TRIGGER, H(post_cancel),     "Cancel: ends in any case",                                   NULL,                          NULL,            NULL,         0},
    {"POST",   "/api/v1/runs/{id}/rerun",                    TRIGGER, H(post_rerun),      "Once more from the first stage that is not green",           NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/runs/{id}/why",                      READ,    H(get_why),         "Why each waiting stage waits",                               NULL,                          NULL,            "List",       0},
    {"GET",    "/api/v1/runs/{id}/compare",                  READ,    H(get_compare),     "A run or a stage of it beside the last good one, or another: commits, files' difference, environment", "stage,with", NULL, "Comparison", 0},
    {"GET",    "/api/v1/runs/{id}/preflight",                READ,    H(get_preflight),   "What was found before its stages ran, and memory estimated and measured", NULL,             NULL,            "Preflight",  0},
    {"GET",    "/api/v1/runs/{id}/events",                   READ,    H(get_events),      "Events of a run as they happen (SSE, resumes by Last-Event-ID)", "since",                   NULL,            NULL,         0},
    {"GET",    "/api/v1/runs/{id}/statuses",                 READ,    H(get_list),        "Commit statuses posted for a run",                           NULL,                          NULL,            "List",       0},
    {"GET",    "/api/v1/events",                             READ,    H(get_events),      "All events as they happen (SSE, resumes by Last-Event-ID)",  "since,project",               NULL,            NULL,         0},
    {"GET",    "/api/v1/stages/pending",                     READ,    H(get_why),         "Every waiting stage with its reason",                        "limit",                       NULL,            "List",       0},
    {"GET",    "/api/v1/stages/{id}",                        READ,    H(get_one),         "One stage as planned",                                       NULL,                          NULL,            "Stage",      0},
    {"GET",    "/api/v1/stages/{id}/attempts",               READ,    H(get_list),        "Attempts of a stage, newest first",                          "limit",                       NULL,            "List",       0},
    {"POST",   "/api/v1/stages/{id}/approve",                TRIGGER, H(post_approve),    "Open a manual gate",                                         NULL,                          "Comment",       NULL,         0},
    {"POST",   "/api/v1/stages/{id}/decline",                TRIGGER, H(post_decline),    "Close a manual gate: the stage turns red",                   NULL,                          "Comment",       NULL,         0},
    {"GET",    "/api/v1/attempts/{id}",                      READ,    H(get_attempt),     "One attempt: end reason, report, diagnosis, what people said, known cases", NULL,           NULL,            "Attempt",    0},
    {"GET",    "/api/v1/attempts/{id}/log",                  READ,    H(get_log),         "Its log from an offset; X-Portolan-Next-Offset goes on",     "offset,limit",                NULL,            NULL,         0},
    {"GET",    "/api/v1/attempts/{id}/log/index",            READ,    H(get_log_index),   "Where its lines are: places with the count of newlines before", "places",                  NULL,            "LogIndex",   0},
    {"GET",    "/api/v1/attempts/{id}/log/search",           READ,    H(get_log_search),  "Its lines that hold a text: objects as they are found, one a line (application/x-ndjson), the last with 'over'", "q,case,offset,line,limit", NULL, "LogFound",   0},
    {"GET",    "/api/v1/attempts/{id}/log/stream",           READ,    H(get_log_stream),  "Its log as it grows (SSE; id is the offset)",                "offset",                      NULL,            NULL,         0},
    {"GET",    "/api/v1/attempts/{id}/report",               READ,    H(get_report),      "What verify measured",                                       NULL,                          NULL,            "Report",     0},
    {"GET",    "/api/v1/attempts/{id}/artifacts",            READ,    H(get_list),        "What it published",                                          "after,limit",                 NULL,            "List",       0},
    {"GET",    "/api/v1/attempts/{id}/job",                  READ,    H(get_job),         "Its job, to reproduce it elsewhere; without secrets",        NULL,                          NULL,            NULL,         0},

    /* risk, board, assignments, people (routes_risk.c) */
    {"GET",    "/api/v1/stages/{id}/risk",                   READ,    H(get_risk),        "How likely a stage is to fail, what that costs, and every term of it", NULL,                NULL,            "Risk",       0},
    {"GET",    "/api/v1/runs/{id}/risk",                     READ,    H(get_risk),        "The same for every stage of a run",                          NULL,                          NULL,            "List",       0},
    {"GET",    "/api/v1/risk/backtest",                      READ,    H(get_backtest),    "History played back: was the risk right, compared with the base rate", "project",           NULL,            "Backtest",   0},
    {"GET",    "/api/v1/board",                              READ,    H(get_board),       "What waits, runs or is red, unassigned and risky first",     "project,host,target,person,state,min_risk,sort,after,limit", NULL, "List", 0},
    {"GET",    "/api/v1/assignments",                        READ,    H(get_assignments), "What was given to whom, newest first",                       "person,state,project,stage,before,limit", NULL,      "List",       0},
    {"POST",   "/api/v1/assignments",                        TRIGGER | MANAGE, H(post_assignment), "Give a stage or a failed attempt to a person; without person: take it", NULL,       "AssignmentRequest", "Assignment", 0},
    {"GET",    "/api/v1/assignments/{id}",                   READ,    H(get_assignment),  "One assignment: history, comments, what to go through",      NULL,                          NULL,            "Assignment", 0},
    {"PATCH",  "/api/v1/assignments/{id}",                   TRIGGER | MANAGE, H(patch_assignment), "Reassign, take, hand back, done, due date",         NULL,                          "AssignmentChange", "Assignment", 0},
    {"POST",   "/api/v1/assignments/{id}/comments",          TRIGGER | MANAGE, H(post_assignment_comment), "Say something about it",                     NULL,                          "CommentText",   "Assignment", 0},
    {"PUT",    "/api/v1/assignments/{id}/checklist/{n}",     TRIGGER | MANAGE, H(put_assignment_check), "Tick a point of its list, from 0, or take the tick away", NULL,                "Tick",          "Assignment", 0},
    {"PUT",    "/api/v1/assignments/{id}/watch",             READ,    H(put_assignment_watch), "Be told about it; a manager may name somebody else",      "person",                      NULL,            "Assignment", 0},
    {"DELETE", "/api/v1/assignments/{id}/watch",             READ,    H(delete_assignment_watch), "Not be told about it any more",                           "person",                  NULL,            "Assignment", 0},
    {"GET",    "/api/v1/people",                             READ,    H(get_people),      "The directory; addresses and tokens for managers only",      "project,after,limit",         NULL,            "List",       0},
    {"POST",   "/api/v1/people",                             MANAGE,  H(post_person),     "A person who has not committed yet",                         NULL,                          "PersonRequest", "Person",     0},
    {"GET",    "/api/v1/people/{name}",                      READ,    H(get_person),      "One person",                                                 NULL,                          NULL,            "Person",     0},
    {"PATCH",  "/api/v1/people/{name}",                      TRIGGER | MANAGE, H(patch_person), "Change a person, or put two into one; suggestions may be switched off by oneself", NULL, "PersonChange", "Person", 0},
    {"GET",    "/api/v1/notify/channels",                    READ,    H(get_channels),    "Channels that people are told through; one's own, all for managers", "after,limit",         NULL,            "List",       0},
    {"POST",   "/api/v1/notify/channels",                    TRIGGER | MANAGE, H(post_channel), "A new channel: e-mail, chat or webhook; a webhook's secret is shown once", NULL,    "ChannelRequest", "Channel",   0},
    {"PATCH",  "/api/v1/notify/channels/{name}",             TRIGGER | MANAGE, H(patch_channel), "Change a channel: which events, digest, quiet hours",    NULL,                          "ChannelRequest", "Channel",   0},
    {"DELETE", "/api/v1/notify/channels/{name}",             TRIGGER | MANAGE, H(delete_channel), "Remove a channel",                                      NULL,                          NULL,            NULL,         0},
    {"POST",   "/api/v1/notify/channels/{name}/test",        TRIGGER | MANAGE, H(post_channel_test), "Send a message through it to see whether it arrives", NULL,                         NULL,            NULL,         0},
    {"GET",    "/api/v1/notify/deliveries",                  READ,    H(get_notify_deliveries), "What was told through which channel, with the last error, newest first", "channel,state,before,limit", NULL, "List",  0},
    /* a command is let in by a browser (routes_login.c) */
    {"POST",   "/api/v1/login/codes",                        OPEN,    H(post_login_code), "A command asks to be let in; answers a code that a person approves", NULL,                  "LoginCodeRequest", "LoginCode", 2048},
    {"POST",   "/api/v1/login/codes/poll",                   OPEN,    H(post_login_poll), "Was it let in: 202 not yet, 429 asked too often, 403 no, 410 over; 200 once, with the token", NULL, "LoginPoll",  "LoginToken", 2048},
    {"GET",    "/api/v1/login/code",                         READ,    H(get_login_code),  "What asks to be let in with this code",                      "code",                        NULL,            "LoginAsked", 0},
    {"POST",   "/api/v1/login/code/approve",                 READ,    H(post_login_approve), "Let it in, with one's own rights or less",                NULL,                          "LoginApproval", "LoginAsked", 2048},
    {"POST",   "/api/v1/login/code/deny",                    READ,    H(post_login_deny), "Do not let it in",                                           NULL,                          "LoginDenial",   "LoginAsked", 2048},

    {"GET",    "/api/v1/matrix",                             READ,    H(get_matrix),      "Models by targets by stages, each with its newest attempts",  "project,ref,runs,after,limit", NULL,          "List",       0},

    /* the knowledge base (routes_kb.c) */
    {"GET",    "/api/v1/kb/challenges",                      READ,    H(get_kb_challenges), "The taxonomies, parents before children, with what was failed and resolved here", "taxonomy,q,project,retired", NULL, "List",  0},
    {"GET",    "/api/v1/kb/challenge",                       READ,    H(get_kb_challenge), "One challenge: what it is, what helps, what speaks for it",   "id,project",                  NULL,            "KbChallenge", 0},
    {"PUT",    "/api/v1/kb/entry",                           CURATE,  H(put_kb_entry),    "What a challenge is about, in one's own words; null: as it ships", "id",                     "KbEntryRequest", "KbSaved",   0},
    {"GET",    "/api/v1/kb/indicators",                      READ,    H(get_kb_indicators), "Indicators by id, by words, by what they speak for",        "q,challenge,area,retired,after,limit", NULL,   "List",       0},
    {"POST",   "/api/v1/kb/indicators",                      CURATE,  H(post_kb_indicator), "Add an indicator of one's own (local/…)",                   NULL,                          "KbIndicatorRequest", "KbSaved", 0},
    {"GET",    "/api/v1/kb/indicator",                       READ,    H(get_kb_indicator), "One indicator, also as YAML; its ETag is its revision",       "id",                          NULL,            "KbIndicator", 0},
    {"PUT",    "/api/v1/kb/indicator",                       CURATE,  H(put_kb_indicator), "Edit an indicator of one's own; 409 when its revision is another", "id",                     "KbIndicatorRequest", "KbSaved", 0},
    {"POST",   "/api/v1/kb/indicator/retire",                CURATE,  H(post_kb_retire),  "Silence an indicator, one's own or a shipped one",           "id",                          NULL,            "KbSaved",    0},
    {"POST",   "/api/v1/kb/indicator/restore",               CURATE,  H(post_kb_restore), "Let it speak again",                                         "id",                          NULL,            "KbSaved",    0},
    {"POST",   "/api/v1/kb/try",                             CURATE,  H(post_kb_try),     "What an indicator would do to past failures, before it is saved", NULL,                     "KbTryRequest",  "KbTried",    0},
    {"GET",    "/api/v1/kb/export",                          READ,    H(get_kb_export),   "The knowledge as a folder of files",                         NULL,                          NULL,            "KbFiles",    0},
    {"POST",   "/api/v1/kb/import",                          CURATE,  H(post_kb_import),  "Take in a folder of files: all of it or nothing",            NULL,                          "KbImportRequest", "KbImported", 16 << 20},
    {"GET",    "/api/v1/kb/model",                           READ,    H(get_kb_model),    "Is a text model of this installation's own in force; data=1: with it, as base64", "data",     NULL,            NULL,         0},
    {"PUT",    "/api/v1/kb/model",                           CURATE,  H(put_kb_model),    "Put a text model made by portolan kb train in force",        NULL,                          "KbModelRequest", NULL,        32 << 20},
    {"DELETE", "/api/v1/kb/model",                           CURATE,  H(delete_kb_model), "Back to the text model that ships",                          NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/kb/changes",                         READ,    H(get_kb_changes),  "Every change of the knowledge with its author and difference, newest first", "object,before,limit", NULL,    "List",       0},
    /* what is made of a diagnosis: people's words, answers of before */
    {"GET",    "/api/v1/attempts/{id}/feedback",             READ,    H(get_list),        "What people said of its diagnosis, newest first",            "limit",                       NULL,            "List",       0},
    {"POST",   "/api/v1/attempts/{id}/feedback",             TRIGGER, H(post_feedback),   "Confirm or correct its diagnosis; later ones of failures like it change", NULL,             "FeedbackRequest", "Feedback", 0},
    {"DELETE", "/api/v1/feedback/{id}",                      TRIGGER, H(delete_feedback), "Take a word back; what was in force before is again",        NULL,                          NULL,            "Feedback",   0},
    {"GET",    "/api/v1/attempts/{id}/diagnoses",            READ,    H(get_list),        "Answers it had under earlier knowledge, newest first",       "before,limit",                NULL,            "List",       0},
    {"GET",    "/api/v1/kb/apply",                           READ,    H(get_kb_apply),    "How far labelling history anew is",                          NULL,                          NULL,            "KbApply",    0},
    {"GET",    "/api/v1/kb/cases",                           READ,    H(get_kb_cases),    "Questions that others asked, by challenge and words",        "challenge,q,after,limit",     NULL,            "List",       0},
    {"POST",   "/api/v1/kb/cases",                           CURATE,  H(post_kb_cases),   "Take questions in; the same again changes nothing",          NULL,                          "KnownCases",    "KnownCasesAnswer", 8 << 20},
    {"GET",    "/api/v1/kb/cases/export",                    READ,    H(get_kb_cases_export), "What a text model can be trained on, a JSON object a line; the last is {\"end\":true}", NULL, NULL,       NULL,         0},
    {"POST",   "/api/v1/kb/apply",                           CURATE,  H(post_kb_apply),   "Label history anew under the knowledge as it is now",        NULL,                          NULL,            NULL,         0},

    {"HEAD",   "/api/v1/blobs/{sha256}",                     READ | AGENT, H(head_blob),  "Is a blob here, or how much of it",                          NULL,                          NULL,            NULL,         0},
    {"GET",    "/api/v1/blobs/{sha256}",                     READ | AGENT, H(get_blob),   "A blob or a range of it",                                    NULL,                          NULL,            NULL,         0},
    {"PUT",    "/api/v1/blobs/{sha256}",                     AGENT,   H(put_blob),        "A piece of a blob (Content-Range)",                          NULL,                          NULL,            NULL,         PTL_WIRE_BLOB_CHUNK_MAX},

    {"POST",   "/api/v1/agent/enroll",                       OPEN,    H(agent_enrol),     "Trade a one-time token for the agent's own",                 NULL,                          "AgentEnrol",    "AgentToken", 0},
    {"POST",   "/api/v1/agent/claim",                        AGENT,   H(agent_claim),     "Long poll for stages",                                       NULL,                          "AgentClaim",    NULL,         0},
    {"POST",   "/api/v1/agent/heartbeat",                    AGENT,   H(agent_heartbeat), "Attempts are alive",                                         NULL,                          "AgentBeat",     NULL,         0},
    {"POST",   "/api/v1/agent/attempts/{id}/start",          AGENT,   H(agent_start),     "An attempt begins",                                          NULL,                          NULL,            NULL,         0},
    {"PUT",    "/api/v1/agent/attempts/{id}/log",            AGENT,   H(agent_log),       "Bytes of its log at an offset",                              "fence,offset",                NULL,            NULL,         PTL_WIRE_LOG_CHUNK_MAX},
    {"POST",   "/api/v1/agent/attempts/{id}/finish",         AGENT,   H(agent_finish),    "How an attempt ended",                                       NULL,                          "Result",        NULL,         PTL_WIRE_BODY_MAX},
};
/* clang-format on */
const size_t ptl_routes_count = PTL_ARRAY_LEN(ptl_routes);
