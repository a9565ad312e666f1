-- project_poll_done: what the poll said.  $1 bigint project, $2 text error or null.
-- @write
-- @repeatable
UPDATE project SET poll_error = $2::text, polled_at = CASE WHEN $2::text IS NULL THEN now() ELSE polled_at END WHERE id = $1::bigint;
