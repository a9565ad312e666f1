-- project_poll_done: what the poll said.  $1 bigint project, $2 text error or null.
-- @write
-- @repeatable
UPDATE project SET poll_error = $2::text WHERE id = $1::bigint AND poll_error IS DISTINCT FROM $2::text;
