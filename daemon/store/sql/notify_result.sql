-- notify_result: how telling went; rows of one channel.  $1 bigint[] ids, $2 'sent' | 'retry' | 'give_up' | 'defer' (not tried: quiet hours or a digest), $3 error or null, $4 bigint wait ms; for 'defer' by the clock on the channel's wall.
-- The channel learns of it: what is to be tried again pauses it (what failed along with it does not count again), what went out ends that. What is given up is about that message.
-- @write
-- @repeatable
WITH put AS (
    UPDATE notify_outbox o SET sent_at = CASE WHEN $2::text = 'sent' THEN now() END, gave_up_at = CASE WHEN $2::text = 'give_up' THEN now() END,
           last_error = CASE WHEN $2::text = 'defer' THEN o.last_error ELSE $3::text END, sending_until = NULL,
           not_before = CASE WHEN $2::text = 'defer' THEN notify_later(now(), c.time_zone, $4::bigint / 1000.0) ELSE now() + $4::bigint * interval '1 ms' END,
           tries = CASE WHEN $2::text = 'defer' THEN GREATEST(o.tries - 1, 0) ELSE o.tries END, first_try_at = CASE WHEN $2::text = 'defer' AND o.tries <= 1 THEN NULL ELSE o.first_try_at END
      FROM notify_channel c
     WHERE o.id = ANY ($1::bigint[]) AND o.sent_at IS NULL AND c.id = o.channel_id
    RETURNING o.channel_id
)
UPDATE notify_channel c SET fails = CASE WHEN $2::text = 'retry' AND (c.paused_until IS NULL OR c.paused_until <= now()) THEN c.fails + 1 WHEN $2::text = 'sent' THEN 0 ELSE c.fails END,
       failing_since = CASE WHEN $2::text = 'retry' THEN COALESCE(c.failing_since, now()) WHEN $2::text = 'sent' THEN NULL ELSE c.failing_since END,
       paused_until = CASE WHEN $2::text = 'retry' AND (c.paused_until IS NULL OR c.paused_until <= now()) THEN now() + $4::bigint * interval '1 ms' WHEN $2::text = 'sent' THEN NULL ELSE c.paused_until END,
       last_error = CASE WHEN $2::text = 'sent' THEN NULL ELSE $3::text END
 WHERE c.id IN (SELECT channel_id FROM put) AND ($2::text IN ('retry', 'give_up') OR ($2::text = 'sent' AND (c.fails > 0 OR c.last_error IS NOT NULL)));
