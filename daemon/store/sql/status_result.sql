-- status_result: how posting went.  $1 bigint id, $2 text 'sent' | 'retry' | 'give_up', $3 text error or null, $4 bigint wait ms.
-- @write
-- @repeatable
UPDATE status_outbox SET sent_at = CASE WHEN $2::text = 'sent' THEN now() END, gave_up_at = CASE WHEN $2::text = 'give_up' THEN now() END,
       last_error = $3::text, not_before = now() + $4::bigint * interval '1 ms', sending_until = NULL
 WHERE id = $1::bigint;
