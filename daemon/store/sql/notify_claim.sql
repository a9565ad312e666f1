-- notify_claim: what is due to be told, by channel, one daemon each.  $1 bigint limit.  With each the clock on the wall of its channel: seconds since 1970 as counted there; and for how long it has been tried.
-- A channel that fails is left alone until its pause is over, and then its oldest message goes alone; a test that somebody just asked for goes at once.
-- @write
WITH due AS (
    SELECT o.id FROM notify_outbox o JOIN notify_channel c ON c.id = o.channel_id
     WHERE o.sent_at IS NULL AND o.gave_up_at IS NULL AND o.not_before <= now() AND (o.sending_until IS NULL OR o.sending_until < now())
       AND (c.fails = 0 OR (o.event = 'test' AND o.tries = 0) OR (c.paused_until <= now() AND NOT EXISTS (SELECT 1 FROM notify_outbox x WHERE x.channel_id = o.channel_id AND x.id < o.id AND x.sent_at IS NULL AND x.gave_up_at IS NULL AND x.not_before <= now())))
     ORDER BY o.not_before, o.id LIMIT $1::bigint FOR UPDATE OF o SKIP LOCKED
), claimed AS (
    UPDATE notify_outbox o SET sending_until = now() + interval '90 seconds', tries = o.tries + 1, first_try_at = COALESCE(o.first_try_at, now()) FROM due WHERE o.id = due.id RETURNING o.*
)
SELECT o.id, o.channel_id, o.event, o.data, o.tries, c.fails, extract(epoch FROM now() - o.first_try_at)::bigint AS tried_for_s, c.name AS channel, c.kind, c.address, c.url, c.secret, c.template, c.digest, c.digest_hour, c.quiet_from, c.quiet_to,
       extract(epoch FROM now() AT TIME ZONE c.time_zone)::bigint AS now_local, extract(epoch FROM o.created_at AT TIME ZONE c.time_zone)::bigint AS created_local
  FROM claimed o JOIN notify_channel c ON c.id = o.channel_id ORDER BY o.channel_id, o.id;
