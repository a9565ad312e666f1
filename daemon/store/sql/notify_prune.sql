-- notify_prune: what was told or given up a month ago is forgotten; what waits behind a channel that has failed for five days is given up after as long, and beyond five thousand of one channel the oldest.
-- @write
-- @repeatable
WITH old AS (
    DELETE FROM notify_outbox WHERE id IN (SELECT id FROM notify_outbox WHERE created_at < now() - interval '30 days' AND (sent_at IS NOT NULL OR gave_up_at IS NOT NULL) LIMIT 5000)
), waiting AS (
    SELECT o.id, o.channel_id, o.created_at, row_number() OVER (PARTITION BY o.channel_id ORDER BY o.id DESC) AS nth FROM notify_outbox o
     WHERE o.sent_at IS NULL AND o.gave_up_at IS NULL AND (o.sending_until IS NULL OR o.sending_until < now())
)
UPDATE notify_outbox o SET gave_up_at = now(), last_error = CASE WHEN w.nth > 5000 THEN 'given up: five thousand newer ones wait for this channel' ELSE 'given up: the channel has taken nothing for five days; last: ' || COALESCE(c.last_error, '?') END
  FROM waiting w JOIN notify_channel c ON c.id = w.channel_id
 WHERE o.id = w.id AND (w.nth > 5000 OR (c.failing_since < now() - interval '5 days' AND w.created_at < now() - interval '5 days'));
