-- status_list: the statuses of a run.  $1 bigint run.
-- @read
SELECT id, sha, context, state, description, tries, sent_at, gave_up_at, last_error FROM status_outbox WHERE run_id = $1::bigint ORDER BY id LIMIT 200;
