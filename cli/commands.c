/* commands.c - every command in one table. The parser, the help, the man page and the completions are made
 * from it. */
#include "cli.h"

/* What a row leaves out is zero, which means none. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define OPTIONS(...)                                                                                         \
    (const struct cli_option[])                                                                              \
    {                                                                                                        \
        __VA_ARGS__,                                                                                         \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }
#define H(x) cli_cmd_##x

/* clang-format off */
#define FAILURE_OPTIONS \
    {"challenge", 0, CLI_TEXT, "ID", "a challenge and all below it: mobile, mobile/model-conversion, …; none: unclear ones"}, {"taxonomy", 0, CLI_TEXT, "NAME", "deployment, job-failures or faults"}, \
    {"platform", 0, CLI_CHOICE, "server|mobile|browser", "where the model was to run"}, {"target", 0, CLI_TEXT, "TARGET", "a target of the pipeline file"}, {"stage", 0, CLI_TEXT, "STAGE", "a stage: verify/android"}, \
    {"kind", 0, CLI_CHOICE, "export|convert|verify", "what kind of stage"}, {"tool", 0, CLI_TEXT, "TOOL", "a recipe, its family, or a tool of the environment"}, {"tool-version", 0, CLI_TEXT, "RANGE", "of that tool: 2.16, ==2.16.1, \">=2.15,<2.18\""}, \
    {"operator", 0, CLI_TEXT, "OP", "an operator that the log named"}, {"branch", 0, CLI_TEXT, "BRANCH", "a branch or tag"}, {"author", 0, CLI_TEXT, "WHO", "of the commit: name or e-mail"}, {"agent", 0, CLI_TEXT, "NAME", "the agent it ran on"}, \
    {"end-reason", 0, CLI_CHOICE, "exit|signal|timeout|oom|agent_lost|setup", "how the attempt ended"}, {"since", 0, CLI_TEXT, "TIME", "2026-11-01, or so long ago: 7d"}, {"until", 0, CLI_TEXT, "TIME", "the same"}, \
    {"resolved", 0, CLI_CHOICE, "true|false|any", "whether it was turned green since"}
#define OPT_PROJECT  {"project", 'p', CLI_TEXT, "NAME", "the project (default: PORTOLAN_PROJECT)"}
#define OPT_LIMIT    {"limit", 'n', CLI_INT, "N", "show at most N (default 50)", .min = 1, .max = 100000}
#define OPT_RETRY    {"retry", 0, CLI_DURATION, "TIME", "keep trying for TIME when the server is away (default 5m)", .min = 0, .max = 86400000}
#define OPT_RECIPES  {"recipes", 0, CLI_DIR, "DIR", "folder of recipes to check against (default: PORTOLAN_RECIPES, else the installed ones)"}
#define OPT_SECRET   {"secret", 0, CLI_TEXT, "NAME", "give the stage this secret, with the value of the environment variable NAME", .many = true}
#define OPT_COUNTED  {"project", 'p', CLI_TEXT, "NAME", "only this project's failures (default: all that the token may see)"}
#define OPT_FAST     {"fast", 0, CLI_FLAG, NULL, "only those of the test suite, which take seconds"}
#define OPT_KB       {"kb", 0, CLI_FILE, "FILE", "a knowledge base made by kb compile (default: what this program ships with)"}
#define OPT_DUE      {"due", 0, CLI_TEXT, "TIME", "until when: 2026-12-24, 2026-12-24T17:00:00Z, or 2d from now"}
#define OPT_COMMENT  {"comment", 'm', CLI_TEXT, "TEXT", "said with it"}
#define PERSON_OPTIONS \
    {"display-name", 0, CLI_TEXT, "TEXT", "as people call them"}, {"forge-login", 0, CLI_TEXT, "LOGIN", "as the forge calls them"}, \
    {"add-email", 0, CLI_TEXT, "ADDRESS", "an address they commit with", .many = true}, {"add-token", 0, CLI_TEXT, "TOKEN", "the name of a token of theirs", .many = true}
#define CHANNEL_OPTIONS \
    {"address", 0, CLI_TEXT, "ADDRESS", "where mails go"}, {"url-file", 0, CLI_FILE, "FILE", "file with the URL of a chat or webhook; - reads standard input"}, \
    {"template", 0, CLI_TEXT, "JSON", "chat: JSON in whose strings {text} stands for the message"}, \
    {"event", 0, CLI_CHOICE, "all|assigned|reassigned|due_soon|overdue|comment|failed|resolved|gate", "only these (default all)", .many = true}, \
    {"digest", 0, CLI_CHOICE, "none|hourly|daily", "gather, and tell at once"}, {"digest-hour", 0, CLI_INT, "H", "o'clock of a daily one (default 9)", .min = 0, .max = 23}, \
    {"quiet-from", 0, CLI_TEXT, "HH:MM", "nothing from then on; off: never quiet"}, {"quiet-to", 0, CLI_TEXT, "HH:MM", "until then"}, \
    {"time-zone", 0, CLI_TEXT, "ZONE", "of these clocks, such as Europe/Vienna (default UTC)"}
#define PROJECT_OPTIONS \
    {"default-branch", 0, CLI_TEXT, "BRANCH", "the branch that runs start from (default main)"}, \
    {"poll", 0, CLI_TEXT, "TIME", "look for pushes that often, 5s to 1d; 0: never"}, \
    {"credential-kind", 0, CLI_CHOICE, "none|token|userpass|ssh_key", "how to log in to the repository; its secret comes from --credential-file"}, \
    {"credential-user", 0, CLI_TEXT, "USER", "user for userpass and ssh_key"}, \
    {"credential-file", 0, CLI_FILE, "FILE", "token, password or private key; - reads standard input"}, \
    {"webhook-secret-file", 0, CLI_FILE, "FILE", "secret that webhooks are signed with; - reads standard input"}

const struct cli_option cli_globals[] = {
    {"server",     's', CLI_TEXT, "URL",  "the daemon, https://host[:port] (PORTOLAN_SERVER)"},
    {"token",      0,   CLI_TEXT, "TOKEN", "token (PORTOLAN_TOKEN); others on this machine may see it: prefer --token-file"},
    {"token-file", 0,   CLI_FILE, "FILE", "file with the token, mode 0600; - reads standard input (PORTOLAN_TOKEN_FILE)"},
    {"ca-file",    0,   CLI_FILE, "FILE", "PEM of the authority that signed the server's certificate (PORTOLAN_CA_FILE)"},
    {"json",       0,   CLI_FLAG, NULL,   "print what the API answered as JSON"},
    {"quiet",      'q', CLI_FLAG, NULL,   "no remarks on standard error, only errors"},
    {"help",       'h', CLI_FLAG, NULL,   "help for this command"},
    {"version",    0,   CLI_FLAG, NULL,   "print the version"},
    {0},
};

const struct cli_command cli_commands[] = {
    {"login", H(login), {{0}}, OPTIONS({"web", 0, CLI_FLAG, NULL, "be let in by a browser, on this machine or another: prints a page and a code, and waits until somebody who is logged in there approves it"}), "remember a server and a token",
     "Reads the token from --token-file, PORTOLAN_TOKEN or standard input (without echo on a terminal), asks the server whose it is, and writes the server and the path of the token file to $XDG_CONFIG_HOME/portolan/config. The token is kept beside it with mode 0600 and is sent to this server only."},
    {"whoami", H(whoami), {{0}}, NULL, "whose token this is and what it may do", NULL},

    {"project add", H(project_add), {{"NAME", CLI_TEXT}, {"URL", CLI_TEXT}}, OPTIONS(PROJECT_OPTIONS), "register a repository",
     "URL is what git would clone: https://, ssh:// or a path on the server that the daemon allows. Next: portolan project hook NAME."},
    {"project list", H(project_list), {{0}}, OPTIONS(OPT_LIMIT, {"after", 0, CLI_TEXT, "NAME", "go on behind this name"}), "projects and their newest runs", NULL},
    {"project show", H(project_show), {{"PROJECT", CLI_TEXT}}, NULL, "one project", NULL},
    {"project set", H(project_set), {{"PROJECT", CLI_TEXT}},
     OPTIONS({"url", 0, CLI_TEXT, "URL", "the repository"}, PROJECT_OPTIONS,
             {"status-forge", 0, CLI_CHOICE, "none|github|gitlab|gitea", "where to post commit statuses (gitea: also Forgejo)"},
             {"status-url", 0, CLI_TEXT, "URL", "the forge's API, e.g. https://forge.example/api/v1"},
             {"status-repo", 0, CLI_TEXT, "OWNER/NAME", "the repository there, or GitLab's project id"},
             {"status-token-file", 0, CLI_FILE, "FILE", "token that may post statuses; - reads standard input"}),
     "change a project; what is not named stays", NULL},
    {"project remove", H(project_remove), {{"PROJECT", CLI_TEXT}}, NULL, "archive a project: its runs and logs stay, its name is free again", NULL},
    {"project hook", H(project_hook), {{"PROJECT", CLI_TEXT}}, OPTIONS({"url", 0, CLI_TEXT, "URL", "how the forge reaches the daemon, when it is not the --server of this command"}),
     "the webhook's URL and how to set it up in a forge", NULL},
    {"project pushes", H(project_pushes), {{"PROJECT", CLI_TEXT}}, OPTIONS(OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this push"}), "what was pushed, who told of it, and which run came of it or why none did, newest first", NULL},
    {"project deliveries", H(project_deliveries), {{"PROJECT", CLI_TEXT}}, OPTIONS(OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this delivery"}), "webhook deliveries and what came of them, newest first", NULL},
    {"project secret set", H(project_secret_set), {{"PROJECT", CLI_TEXT}, {"NAME", CLI_TEXT}},
     OPTIONS({"ref", 0, CLI_TEXT, "GLOB", "only for runs of matching branches and tags", .many = true},
             {"stage", 0, CLI_TEXT, "GLOB", "only for stages with matching names", .many = true}),
     "set a secret; its value comes from standard input",
     "The value never stands on a command line. Only stages that ask for the secret get it, and only where --ref and --stage allow it."},
    {"project secret list", H(project_secret_list), {{"PROJECT", CLI_TEXT}}, NULL, "names and policies of secrets, never their values", NULL},
    {"project secret remove", H(project_secret_remove), {{"PROJECT", CLI_TEXT}, {"NAME", CLI_TEXT}}, NULL, "forget a secret", NULL},

    {"hook install", H(hook_install), {{"REPO", CLI_DIR}},
     OPTIONS(OPT_PROJECT, {"force", 'f', CLI_FLAG, NULL, "also into a repository with a working tree"}),
     "install a post-receive hook into a bare repository",
     "A hook that is there already is kept and runs first. Doing it again changes nothing. --server, --token-file and --ca-file, when given, are written into the hook; otherwise the user that git runs as needs a portolan login."},
    {"hook post-receive", H(hook_post_receive), {{0}}, OPTIONS(OPT_PROJECT), "tell the daemon what was pushed (called by git)",
     "Reads lines `old new ref` from standard input. Ends with 0 in any case: a daemon that is away must not fail a push."},

    {"run start", H(run_start), {{"PROJECT", CLI_TEXT, .optional = true}},
     OPTIONS(OPT_PROJECT, {"ref", 0, CLI_TEXT, "REF", "branch, or a full refs/… name (default: the project's default branch)"},
             {"tag", 0, CLI_TEXT, "TAG", "the same for a tag"},
             {"commit", 0, CLI_TEXT, "SHA", "this commit: 40 digits, or anything git in the current directory can resolve"},
             {"watch", 'w', CLI_FLAG, NULL, "watch it to its end; the exit code then tells green from red"}, OPT_RETRY),
     "start a run", NULL},
    {"run list", H(run_list), {{0}},
     OPTIONS(OPT_PROJECT, {"state", 0, CLI_CHOICE, "preparing|waiting|running|green|red|cancelled|invalid", "only runs in this state"},
             {"ref", 0, CLI_TEXT, "REF", "only runs of this branch or full ref"}, {"commit", 0, CLI_TEXT, "SHA", "only runs of this commit (a prefix will do)"},
             OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this run"}),
     "runs, newest first", NULL},
    {"run show", H(run_show), {{"RUN", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "a run: its stages, their numbers, and why red ones are red", NULL},
    {"run compare", H(run_compare), {{"RUN", CLI_TEXT}},
     OPTIONS(OPT_PROJECT, {"stage", 0, CLI_TEXT, "STAGE", "this stage (default: the first red one)"}, {"with", 0, CLI_TEXT, "RUN", "beside this run (default: the last in which the stage was green)"}),
     "what differs from the last good run: commits, files, environment, figures", "The files' difference begins with the pipeline file, then what is installed, then scripts; what was left out is told, binary files and LFS objects are named."},
    {"run watch", H(run_watch), {{"RUN", CLI_TEXT}},
     OPTIONS(OPT_PROJECT, {"exit-status", 0, CLI_FLAG, NULL, "end with 1 when the run does not end green"}, OPT_RETRY),
     "follow a run to its end", "On a terminal the table is drawn anew, elsewhere each change is a line. A lost connection is taken up where it broke."},
    {"run cancel", H(run_cancel), {{"RUN", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "cancel a run", NULL},
    {"run rerun", H(run_rerun), {{"RUN", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"watch", 'w', CLI_FLAG, NULL, "watch it to its end"}, OPT_RETRY),
     "once more from the first stage that is not green", NULL},
    {"why", H(why), {{"RUN", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "why stages wait, and why red ones are red, with the lines that say so", NULL},

    {"feedback confirm", H(feedback_confirm), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_COMMENT), "the diagnosis of an attempt is right", "Diagnoses of failures like it are surer from then on."},
    {"feedback correct", H(feedback_correct), {{"ATTEMPT", CLI_TEXT}, {"CHALLENGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_COMMENT), "it is another challenge",
     "CHALLENGE is the id of a node: portolan kb list. It is the answer in force at once, whatever later knowledge says, and diagnoses of failures like it change."},
    {"feedback reject", H(feedback_reject), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_COMMENT), "it is no deployment challenge at all", NULL},
    {"feedback list", H(feedback_list), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "what people said of an attempt", NULL},
    {"feedback undo", H(feedback_undo), {{"ID", CLI_TEXT}}, NULL, "take a word back", "What was in force before it is again: another person's word, or the diagnosis."},

    {"stage list", H(stage_list), {{0}}, OPTIONS(OPT_LIMIT), "every stage that waits, with the reason", NULL},
    {"stage approve", H(stage_approve), {{"STAGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"comment", 'm', CLI_TEXT, "TEXT", "kept with the decision"}), "open a manual gate", NULL},
    {"stage decline", H(stage_decline), {{"STAGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"comment", 'm', CLI_TEXT, "TEXT", "kept with the decision"}), "close a manual gate: the stage turns red", NULL},
    {"attempt list", H(attempt_list), {{"STAGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_LIMIT), "the attempts of a stage, newest first", NULL},

    {"risk", H(risk), {{"RUN", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"terms", 't', CLI_FLAG, NULL, "every term of it, with its reason"}),
     "how likely each stage of a run is to fail, and what that would cost",
     "Weighed when the run is planned: what is known of such failures elsewhere, what happened here, what happened in this project, what changed. A Beta posterior: the paper's share of questions as a prior worth 4 outcomes, updated by the organisation's outcomes, these (worth 5) by the project's own with the newest counting most, and its odds multiplied by what each thing that changed has meant before; times the typical hours from red to green of what can fail there. --terms shows every number with its reason."},
    {"risk backtest", H(risk_backtest), {{0}}, OPTIONS(OPT_PROJECT), "play history back: was the risk right",
     "Predicts every outcome from those before it and compares with what happened, and with always saying the rate so far."},
    {"board", H(board), {{0}},
     OPTIONS(OPT_PROJECT, {"host", 0, CLI_CHOICE, "server|mobile|browser", "only targets on this host kind"}, {"target", 0, CLI_TEXT, "TARGET", "only this target"},
             {"person", 0, CLI_TEXT, "NAME", "only what this person has; me, or none for what nobody has"},
             {"state", 0, CLI_CHOICE, "upcoming|running|red|waiting|gated|queued|claimed", "only stages in this state"}, {"min-risk", 0, CLI_TEXT, "X", "only from this chance of failing on, 0 to 1"},
             {"sort", 0, CLI_CHOICE, "risk|due|age", "by what is at stake, nobody's first (default); by due date; by age"}, OPT_LIMIT, {"after", 0, CLI_TEXT, "CURSOR", "go on behind an earlier page"}),
     "what waits, runs or is red, by risk, and who has it", NULL},
    {"assign", H(assign), {{"STAGE", CLI_TEXT}, {"PERSON", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_DUE, OPT_COMMENT, {"reassign", 0, CLI_FLAG, NULL, "also from someone who has it"}),
     "give a stage, or what it failed of, to a person", NULL},
    {"take", H(take), {{"STAGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_DUE, OPT_COMMENT), "take a stage yourself", "Of two who take at once one gets it; the other is told who."},
    {"handback", H(handback), {{"STAGE", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_COMMENT), "give back a stage that you have", NULL},
    {"assignment list", H(assignment_list), {{0}},
     OPTIONS(OPT_PROJECT, {"person", 0, CLI_TEXT, "NAME", "only this person's; me"}, {"state", 0, CLI_CHOICE, "open|assigned|taken|free|done|closed", "default open"}, OPT_LIMIT,
             {"before", 0, CLI_TEXT, "ID", "go on behind this one"}),
     "what was given to whom", NULL},
    {"assignment show", H(assignment_show), {{"ASSIGNMENT", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "one assignment: what to go through, its history", "ASSIGNMENT is its id, or RUN/STAGE."},
    {"assignment comment", H(assignment_comment), {{"ASSIGNMENT", CLI_TEXT}, {"TEXT", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "say something about it", NULL},
    {"assignment done", H(assignment_done), {{"ASSIGNMENT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_COMMENT), "it is done; a stage that turns green says so by itself", NULL},
    {"assignment due", H(assignment_due), {{"ASSIGNMENT", CLI_TEXT}, {"TIME", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "until when: a day, a time, 2d from now, or none", NULL},
    {"assignment check", H(assignment_check), {{"ASSIGNMENT", CLI_TEXT}, {"POINT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"undo", 0, CLI_FLAG, NULL, "take the tick away"}), "tick a point of its list", NULL},
    {"assignment watch", H(assignment_watch), {{"ASSIGNMENT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"person", 0, CLI_TEXT, "PERSON", "somebody else; takes role manager"}), "be told what happens to it", NULL},
    {"assignment unwatch", H(assignment_unwatch), {{"ASSIGNMENT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"person", 0, CLI_TEXT, "PERSON", "somebody else; takes role manager"}), "not be told any more", NULL},
    {"person list", H(person_list), {{0}}, OPTIONS(OPT_PROJECT, OPT_LIMIT, {"after", 0, CLI_TEXT, "NAME", "go on behind this one"}), "people, from commits and as added", NULL},
    {"person show", H(person_show), {{"PERSON", CLI_TEXT}}, NULL, "one person", NULL},
    {"person add", H(person_add), {{"NAME", CLI_TEXT}}, OPTIONS(PERSON_OPTIONS), "a person who has not committed yet", NULL},
    {"person set", H(person_set), {{"PERSON", CLI_TEXT}},
     OPTIONS(PERSON_OPTIONS, {"remove-email", 0, CLI_TEXT, "ADDRESS", "not theirs", .many = true}, {"remove-token", 0, CLI_TEXT, "TOKEN", "not theirs", .many = true},
             {"time-zone", 0, CLI_TEXT, "ZONE", "such as Europe/Vienna, which new channels of theirs take; none: not known"},
             {"suggestions", 0, CLI_CHOICE, "on|off", "whether they are suggested for what failed; anyone may say off for themselves"}),
     "change a person", NULL},
    {"person merge", H(person_merge), {{"PERSON", CLI_TEXT}, {"INTO", CLI_TEXT}}, NULL, "two entries are one person", "The addresses, tokens, commits and assignments of PERSON go to INTO; PERSON stays as another name of it."},

    {"notify channel add", H(notify_channel_add), {{"NAME", CLI_TEXT}},
     OPTIONS(OPT_PROJECT, {"kind", 0, CLI_CHOICE, "email|chat|webhook", "default email"}, {"person", 0, CLI_TEXT, "NAME", "whose it is (default: you)"},
             {"shared", 0, CLI_FLAG, NULL, "nobody's own: hears all of its project, or of all projects"}, CHANNEL_OPTIONS),
     "a channel to be told through",
     "Told are: assigned, reassigned, due_soon, overdue, comment, failed (with its diagnosis), resolved, gate. A person's channel hears what concerns the person; a shared one everything. chat takes what Slack's webhooks take, {\"text\": ...}, or a --template with {text} in it for others. webhook is signed after the Standard Webhooks; its secret is printed once."},
    {"notify channel list", H(notify_channel_list), {{0}}, OPTIONS(OPT_LIMIT, {"after", 0, CLI_TEXT, "NAME", "go on behind this one"}), "channels, and whether they work", NULL},
    {"notify channel set", H(notify_channel_set), {{"NAME", CLI_TEXT}}, OPTIONS(CHANNEL_OPTIONS), "change what is told through a channel, and when", NULL},
    {"notify channel remove", H(notify_channel_remove), {{"NAME", CLI_TEXT}}, NULL, "nothing more through this channel", NULL},
    {"notify channel test", H(notify_channel_test), {{"NAME", CLI_TEXT}}, NULL, "send a message through it and wait for what the other side says", NULL},
    {"notify deliveries", H(notify_deliveries), {{0}},
     OPTIONS({"channel", 0, CLI_TEXT, "NAME", "only of this channel"}, {"state", 0, CLI_CHOICE, "open|sent|gave_up", "only those"}, OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this one"}),
     "what was told, newest first, and what went wrong", NULL},

    {"logs", H(logs), {{"ATTEMPT", CLI_TEXT}},
     OPTIONS(OPT_PROJECT, {"follow", 'f', CLI_FLAG, NULL, "go on until the attempt has ended"}, {"offset", 0, CLI_INT, "BYTES", "begin there", .min = 0, .max = INT64_MAX},
             {"raw", 0, CLI_FLAG, NULL, "every byte as it is, also on a terminal"}, OPT_RETRY),
     "the log of an attempt", "On a terminal, control bytes other than colours are replaced, so that a log cannot steer it. Into a pipe or file the bytes go as they are."},
    {"report", H(report), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "what a verify measured", NULL},
    {"artifacts list", H(artifacts_list), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, OPT_LIMIT), "what an attempt published", NULL},
    {"artifacts get", H(artifacts_get), {{"ATTEMPT", CLI_TEXT}, {"PATH", CLI_TEXT, .optional = true, .many = true}},
     OPTIONS(OPT_PROJECT, {"output", 'o', CLI_DIR, "DIR", "where to put them (default: the current directory)"}),
     "download artifacts, all or those below PATH", "Each file is checked against its SHA-256. Nothing is written outside of DIR."},

    {"failures search", H(failures_search), {{"WORDS", CLI_TEXT, .optional = true, .many = true}},
     OPTIONS(OPT_PROJECT, {"in", 0, CLI_CHOICE, "lines|log", "where the words are looked for: in the lines that diagnoses quote, or in whole logs (default lines)"}, FAILURE_OPTIONS, {"sort", 0, CLI_CHOICE, "time|similarity|cost", "newest, likest to the words, or costliest first (default time)"},
             OPT_LIMIT, {"cursor", 0, CLI_TEXT, "CURSOR", "go on behind this page"}, {"csv", 0, CLI_FLAG, NULL, "as CSV, at most 50000"}),
     "search past failures", "Words are found in any form (quantize finds quantization) in what was quoted from logs; a text in double quotes as it stands, whatever the case; -WORD leaves out. With --in log they are looked for in all of each log that is still there, and the lines that quoted texts stand in are shown; a log of more than some 3000 different words is known by those nearest its end. The filters are those of the API's URL: portolan failures search 'unsupported op' --challenge mobile --since 30d."},
    {"failures show", H(failures_show), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT), "one failure as the history keeps it, also when its log has gone", NULL},
    {"resolution list", H(resolution_list), {{0}},
     OPTIONS(OPT_PROJECT, {"attempt", 0, CLI_TEXT, "ATTEMPT", "what turned failures like this one green, the likest first"}, {"challenge", 0, CLI_TEXT, "ID", "only of this challenge and those below it"},
             {"state", 0, CLI_CHOICE, "candidate|confirmed|rejected", "only those"}, OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this one"}),
     "what turned stages green after failures, newest first", NULL},
    {"resolution show", H(resolution_show), {{"ID", CLI_TEXT}}, NULL, "one of them: commits, tools, agents, and the difference of spec, requirements and scripts", NULL},
    {"resolution confirm", H(resolution_confirm), {{"ID", CLI_TEXT}}, OPTIONS({"note", 'm', CLI_TEXT, "TEXT", "what fixed it, in your words: shown first from then on"}), "this is what fixed it", NULL},
    {"resolution reject", H(resolution_reject), {{"ID", CLI_TEXT}}, OPTIONS({"note", 'm', CLI_TEXT, "TEXT", "why not"}), "this is not what fixed it: never shown for other failures again", NULL},
    {"trends", H(trends), {{"WHAT", CLI_CHOICE, "challenges|operators|toolchains", .optional = true}},
     OPTIONS(OPT_PROJECT, {"by", 0, CLI_CHOICE, "challenge|category", "leaves or categories (default challenge)"}, {"interval", 0, CLI_CHOICE, "day|week|month", "what one bar is (default week)"},
             {"since", 0, CLI_TEXT, "TIME", "2026-11-01, or so long ago: 30d (default 90d)"}, {"until", 0, CLI_TEXT, "TIME", "the same"}),
     "what fails how often, beside the numbers of the paper", "challenges (the default): failures over time, share, share unresolved and median hours, beside the share of questions, the percentage without an accepted answer and the hours to one that Chen et al. 2020 found. operators: what is not supported where, most wanted first. toolchains: pairs of versions by how often they fail."},
    {"similar", H(similar), {{"ATTEMPT", CLI_TEXT}}, OPTIONS(OPT_PROJECT, {"limit", 'n', CLI_INT, "N", "show at most N (default 20)", .min = 1, .max = 100}),
     "the nearest past failures and why they are near", "Grouped by what their best line is once names and numbers are masked; in a group those that were resolved come first, then the newest."},

    {"agent list", H(agent_list), {{0}}, OPTIONS(OPT_LIMIT), "agents: what they serve and what they do", NULL},
    {"agent enrol", H(agent_enrol), {{"NAME", CLI_TEXT, .optional = true}},
     OPTIONS({"host", 0, CLI_CHOICE, "server|mobile|browser", "a host kind the agent may serve (default: any)", .many = true},
             {"expires-in", 0, CLI_DURATION, "TIME", "how long the one-time token can be used (default 1h)", .min = 1000, .max = 2592000000}),
     "a one-time token for a new agent, and the command to run there", NULL},
    {"agent drain", H(agent_drain), {{"NAME", CLI_TEXT}}, NULL, "let an agent end what it does and take nothing new", NULL},
    {"agent activate", H(agent_activate), {{"NAME", CLI_TEXT}}, NULL, "let a drained agent take stages again", NULL},
    {"agent remove", H(agent_remove), {{"NAME", CLI_TEXT}}, NULL, "remove an agent; its token opens nothing any more", NULL},

    {"token create", H(token_create), {{"NAME", CLI_TEXT}},
     OPTIONS({"role", 0, CLI_CHOICE, "viewer|member|manager|curator|admin", "what it may do (default viewer)"}, OPT_PROJECT,
             {"expires-in", 0, CLI_DURATION, "TIME", "until when (default: until it is revoked)", .min = 1000, .max = 315360000000}),
     "make a token for a person or a program; shown once", "With --project the token sees this project only. Unlike elsewhere, PORTOLAN_PROJECT is not looked at."},
    {"token list", H(token_list), {{0}}, OPTIONS(OPT_LIMIT, {"after", 0, CLI_TEXT, "ID", "go on behind this token"}), "tokens, without their secrets", NULL},
    {"token revoke", H(token_revoke), {{"ID", CLI_TEXT}}, NULL, "from now on this token opens nothing", NULL},

    {"lint", H(lint), {{"FILE", CLI_FILE, .optional = true}}, OPTIONS(OPT_RECIPES), "check a pipeline file, here, without a server",
     "FILE is .portolan.yml of the current directory when it is left out; - reads standard input. Ends with 1 when there are errors."},
    {"preflight", H(preflight), {{"DIR", CLI_DIR, .optional = true}},
     OPTIONS(OPT_PROJECT, {"run", 'r', CLI_TEXT, "RUN", "what the server found for this run, and memory estimated beside measured"},
             {"agents", 0, CLI_FLAG, NULL, "ask the server which versions and how much memory its agents have"},
             {"stage", 0, CLI_TEXT, "STAGE", "DIR holds what this stage of the pipeline wrote: check it against the stages that take it"}),
     "what the files already say about stages that have not run, each with the challenge it would end in",
     "Looks at the repository in DIR (default: the current directory): the pipeline file, the files it names, and every model, read without its framework. Ends with 1 when there are errors."},
    {"init", H(init), {{"DIR", CLI_DIR, .optional = true}}, OPTIONS({"print", 0, CLI_FLAG, NULL, "to standard output instead of a file"}),
     "write a first .portolan.yml for a repository", "Looks at what is in the repository. Never overwrites a file."},
    {"schema", H(schema), {{0}}, NULL, "the JSON Schema of the pipeline file, for editors", NULL},
    {"exec", H(exec), {{"DIR", CLI_DIR, .optional = true}},
     OPTIONS({"target", 't', CLI_TEXT, "TARGET", "only the stages of this target and what they need", .many = true},
             {"stage", 0, CLI_TEXT, "STAGE", "only this stage and what it needs", .many = true},
             {"output", 'o', CLI_DIR, "DIR", "keep the attempt directories there, one a stage (default: a temporary directory, kept when a stage is red)"},
             {"keep", 0, CLI_FLAG, NULL, "keep the temporary directory"},
             {"plan", 0, CLI_FLAG, NULL, "show the stages and run nothing"}, OPT_SECRET, OPT_RECIPES),
     "run the pipeline on this machine, without a daemon",
     "Takes the working tree of DIR as it is, also what is not committed yet; what git ignores stays out. Runs the stages in order with portolan-agent attempt and prints the table that run show prints. Manual gates are taken as approved. Ends with 1 when a stage is red."},
    {"reproduce", H(reproduce), {{"ATTEMPT", CLI_TEXT}},
     OPTIONS(OPT_PROJECT, {"output", 'o', CLI_DIR, "DIR", "where to make the attempt directory (default: attempt-ID)"},
             {"run", 0, CLI_FLAG, NULL, "run it right away"}, OPT_SECRET),
     "download all that an attempt had, to run it again here",
     "Makes an attempt directory with the job, the source snapshot and the inputs, each checked against its SHA-256, and tells the command that runs it. Secrets are never downloaded; give them with --secret."},

    {"diagnose", H(diagnose), {{"FILE", CLI_FILE, .optional = true}},
     OPTIONS({"platform", 0, CLI_TEXT, "PLATFORM", "what the target is: server, mobile or browser"}, {"stage", 0, CLI_TEXT, "STAGE", "what failed: export, convert or verify"},
             {"tool", 0, CLI_TEXT, "TOOL", "what it was done with, such as tflite-converter or tf-serving"},
             {"end", 0, CLI_TEXT, "REASON", "how it ended: exit, signal, oom, timeout, agent_lost, setup"}, OPT_KB),
     "what broke a stage, from its log alone, here, without a server",
     "FILE is the log; - or none reads standard input. Prints the category, the cause, the lines that say so, what to do and whether trying again helps; when nothing speaks, the nearest three and what would decide. With --json: {\"ranked\":[{\"id\",\"p\",\"evidence\"}],\"transient\",\"state\":\"diagnosed\"|\"unclear\", …}. Ends with 0 in both cases."},
    {"kb list", H(kb_list), {{0}},
     OPTIONS({"indicators", 0, CLI_FLAG, NULL, "indicators instead of challenges"}, {"challenge", 0, CLI_TEXT, "ID", "only indicators that speak for this challenge or one below it"},
             {"area", 0, CLI_TEXT, "AREA", "only indicators of this area, such as tflite or local"}, {"taxonomy", 0, CLI_CHOICE, "deployment|job-failures|faults", "only challenges of this taxonomy"},
             {"words", 0, CLI_TEXT, "TEXT", "only what speaks of TEXT"}, {"retired", 0, CLI_FLAG, NULL, "also what is retired"}, OPT_COUNTED, OPT_LIMIT, {"after", 0, CLI_TEXT, "ID", "go on behind this indicator"}),
     "known challenges as a tree, with the paper's share and this installation's own; or the indicators", NULL},
    {"kb show", H(kb_show), {{"ID", CLI_TEXT}}, OPTIONS({"yaml", 0, CLI_FLAG, NULL, "as YAML, to edit"}), "a challenge with what is known about it, or an indicator", NULL},
    {"kb add", H(kb_add), {{"FILE", CLI_FILE}}, NULL, "add indicators of one's own from a YAML file", "FILE holds one indicator, or a list as migrations/kb/FORM.md says; - reads standard input. Ids begin with local/. Try it first: portolan kb try FILE."},
    {"kb edit", H(kb_edit), {{"ID", CLI_TEXT}, {"FILE", CLI_FILE, .optional = true}},
     OPTIONS({"revision", 0, CLI_INT, "N", "the revision the change was made from (default: as it is now)", .min = 0, .max = INT64_MAX}, {"as-shipped", 0, CLI_FLAG, NULL, "a challenge's entry as the program ships it again"}),
     "edit an indicator of one's own, or what is known about a challenge", "Without FILE the editor ($VISUAL, $EDITOR, vi) opens on the YAML. When somebody else changed it meanwhile, nothing is written (exit code 5) and your text is kept."},
    {"kb retire", H(kb_retire), {{"ID", CLI_TEXT, .many = true}}, NULL, "silence indicators, one's own or shipped ones", NULL},
    {"kb restore", H(kb_restore), {{"ID", CLI_TEXT, .many = true}}, NULL, "let retired indicators speak again", NULL},
    {"kb try", H(kb_try), {{"WHAT", CLI_FILE}},
     OPTIONS(OPT_COUNTED, {"limit", 'n', CLI_INT, "N", "look at most at N past failures (default 200)", .min = 1, .max = 2000}, {"before", 0, CLI_INT, "ATTEMPT", "only at failures before this one", .min = 0, .max = INT64_MAX}),
     "what an indicator would do to past failures, before it is saved", "WHAT is a YAML file with one indicator (- reads standard input), or the id of a saved one. Shows where it speaks with the line, and whose answer would be another."},
    {"kb import-posts", H(kb_import_posts), {{"DIR", CLI_DIR}}, OPTIONS({"dry-run", 0, CLI_FLAG, NULL, "only tell what is there"}),
     "load questions that others asked as known cases, for diagnoses to point at",
     "DIR is looked through for posts (files of JSON lines whose name says server, mobile or browser) and labels (.xlsx with a sheet a platform: address, label), also inside .zip archives: the form of the public dataset of the study of deployment challenges. Doing it again changes nothing."},
    {"kb cases list", H(kb_cases_list), {{0}}, OPTIONS({"challenge", 0, CLI_TEXT, "ID", "of this challenge and what is below it"}, {"words", 'w', CLI_TEXT, "TEXT", "that hold these words, nearest first"}, OPT_LIMIT),
     "questions that others asked", NULL},
    {"kb cases export", H(kb_cases_export), {{"FILE", CLI_FILE}}, NULL, "what a text model can be trained on",
     "JSON lines {\"id\",\"platform\",\"log\",\"label\"}: known cases with a challenge, and the key lines of failures that a person confirmed or corrected. - writes standard output."},
    {"kb apply", H(kb_apply), {{0}}, OPTIONS({"watch", 'w', CLI_FLAG, NULL, "watch it to its end"}, {"status", 0, CLI_FLAG, NULL, "only tell how far it is"}),
     "label past failures anew under the knowledge as it is now", "Works in the background; old answers are kept, and what a person said stays."},
    {"kb export", H(kb_export), {{"DIR", CLI_DIR, .optional = true}}, NULL, "write the knowledge as a folder of files", "What was imported and not changed since is written as the same bytes."},
    {"kb import", H(kb_import), {{"DIR", CLI_DIR}}, OPTIONS({"dry-run", 0, CLI_FLAG, NULL, "only tell what would change"}), "take in a folder of files: all of it or nothing", "Indicators called local/…, entries and retired.yml; what ships is left as it is. Objects that are not in the folder stay."},
    {"kb history", H(kb_history), {{"OBJECT", CLI_TEXT, .optional = true}}, OPTIONS(OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this change"}), "every change of the knowledge with its author and what changed, newest first", NULL},
    {"kb compile", H(kb_compile), {{"DIR", CLI_DIR, .optional = true}}, OPTIONS({"output", 'o', CLI_FILE, "FILE", "where to write it (default kb.bin)"}),
     "compile a knowledge base into one file for diagnose --kb", "DIR is a folder of files as kb export writes them; without it, what this program ships with."},
    {"kb train", H(kb_train), {{"CASES", CLI_FILE, .optional = true, .many = true}},
     OPTIONS({"output", 'o', CLI_FILE, "FILE", "where to write it (default text.bin; with --set: nowhere)"}, {"only", 0, CLI_FLAG, NULL, "without the cases that ship"},
             {"set", 0, CLI_FLAG, NULL, "put it in force at the server (undo: kb model reset)"}, {"local", 0, CLI_FLAG, NULL, "from CASES and the cases that ship, without a server"},
             {"folds", 0, CLI_INT, "N", "parts of the cross-validation (default 5)", .min = 2, .max = 20},
             {"dir", 0, CLI_DIR, "DIR", "the knowledge base whose nodes and words count (default: the server's, else what ships)"}),
     "make a text model from labelled cases: the server's and those that ship, or files",
     "Without CASES: from the failures of the server that people confirmed or corrected, its known cases and the cases that ship; prints how many of each, and how often the right answer comes first with the model in force, without and with this house's cases, by cross-validation. Nothing is changed at the server without --set, which needs a curator. With CASES or --local: on this machine alone. CASES are JSON lines {\"id\",\"platform\",\"log\" or \"title\" and \"body\",\"label\",\"alternatives\"}. The same cases give the same bytes."},
    {"kb model show", H(kb_model_show), {{0}}, NULL, "is the server's text model the shipped one or one's own", NULL},
    {"kb model set", H(kb_model_set), {{"FILE", CLI_FILE}}, OPTIONS({"cases", 0, CLI_INT, "N", "how many cases it was made from, to be remembered", .min = 0, .max = 100000000}), "let the server use a text model made by kb train", NULL},
    {"kb model reset", H(kb_model_reset), {{0}}, NULL, "back to the text model that ships", NULL},

    {"drill list", H(drill_list), {{"NAME", CLI_TEXT, .optional = true, .many = true}}, OPTIONS(OPT_FAST), "faults seeded on purpose, and the challenge that the diagnosis of each must put first", "NAME may be a glob."},
    {"drill run", H(drill_run), {{"NAME", CLI_TEXT, .optional = true, .many = true}},
     OPTIONS(OPT_FAST, {"repos", 0, CLI_DIR, "DIR", "run on the daemon of --server: DIR is one of its git-local-roots"}, {"parallel", 0, CLI_INT, "N", "drills at a time (default 3)", .min = 1, .max = 64},
             {"timeout", 0, CLI_DURATION, "TIME", "for one drill, waiting included (default 10m)", .min = 10000, .max = 86400000}, {"logs", 0, CLI_DIR, "DIR", "keep each failed stage's log there"},
             {"results", 0, CLI_FILE, "FILE", "write the results there, one JSON object a line"}, {"least", 0, CLI_INT, "PERCENT", "end with 1 when fewer diagnoses name the expected challenge first", .min = 0, .max = 100}),
     "break example repositories in real ways, run them, and see what the diagnosis says",
     "On a daemon and three agents of its own, ended afterwards, unless --repos names a place that the daemon of --server reads repositories from. Takes real toolchains. Ends with 1 when a drill does not fail as it must."},
    {"drill coverage", H(drill_coverage), {{0}}, NULL, "which of the 81 challenges some drill is about, beside what earlier work seeds", NULL},

    {"events", H(events), {{0}}, OPTIONS(OPT_PROJECT, {"run", 0, CLI_TEXT, "RUN", "only events of this run"}, {"since", 0, CLI_TEXT, "ID", "go on behind this event; 0: from the first one"},
             {"count", 0, CLI_INT, "N", "end after N events", .min = 1, .max = 1000000000}, OPT_RETRY),
     "what happens, as it happens", "With --json one object a line. Each line begins with its id, which --since takes."},
    {"audit", H(audit), {{0}}, OPTIONS(OPT_LIMIT, {"before", 0, CLI_TEXT, "ID", "go on behind this entry"}), "what people changed, newest first", NULL},
    {"completion", H(completion), {{"SHELL", CLI_CHOICE, "bash|zsh|fish"}}, NULL, "completion script for a shell",
     "bash: source <(portolan completion bash). zsh: portolan completion zsh > a file _portolan in $fpath. fish: portolan completion fish | source."},
    {"help", H(help), {{"COMMAND", CLI_COMMAND, .optional = true, .many = true}}, OPTIONS({"man", 0, CLI_FLAG, NULL, "the whole manual page, as roff"}), "help about a command", NULL},
};
/* clang-format on */
const size_t cli_commands_count = PTL_ARRAY_LEN(cli_commands);

const char *cli_noun_summary(const char *noun)
{
    static const char *const nouns[][2] = {
        {"project",        "registered repositories, their webhooks and secrets" },
        {"hook",           "git hooks of repositories on this machine"           },
        {"run",            "runs: start, watch, cancel"                          },
        {"stage",          "stages that wait, and their gates"                   },
        {"attempt",        "tries of a stage"                                    },
        {"artifacts",      "what stages published"                               },
        {"failures",       "past failures: search, show"                         },
        {"resolution",     "what turned stages green after failures"             },
        {"agent",          "the machines that do the work"                       },
        {"feedback",       "a person's word on a diagnosis"                      },
        {"risk",           "how likely stages are to fail"                       },
        {"assignment",     "what was given to whom"                              },
        {"person",         "who is who: addresses, tokens, suggestions"          },
        {"notify",         "who is told what, and how"                           },
        {"notify channel", "mail, chat and webhooks that people are told through"},
        {"token",          "tokens of people and programs"                       },
        {"kb",             "the knowledge base: what failures mean"              },
        {"kb model",       "the text model that the server diagnoses with"       },
        {"drill",          "faults seeded on purpose"                            },
        {"project secret", "secrets that a project's stages may ask for"         },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(nouns); i++)
        if (ptl_str_eq(nouns[i][0], noun))
            return nouns[i][1];
    return NULL;
}
