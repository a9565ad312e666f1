-- notify_result: how telling went.  $1 bigint[] ids, $2 'sent' | 'retry' | 'give_up' | 'defer' (not tried: quiet hours or a digest), $3 error or null, $4 bigint wait ms.
-- @write
-- @repeatable
UPDATE notify_outbox SET sent_at = CASE WHEN $2::text = 'sent' THEN now() END, gave_up_at = CASE WHEN $2::text = 'give_up' THEN now() END,
       last_error = CASE WHEN $2::text = 'defer' THEN last_error ELSE $3::text END, not_before = now() + $4::bigint * interval '1 ms', sending_until = NULL,
       tries = CASE WHEN $2::text = 'defer' THEN GREATEST(tries - 1, 0) ELSE tries END
 WHERE id = ANY ($1::bigint[]) AND sent_at IS NULL;
