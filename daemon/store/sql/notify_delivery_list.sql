-- notify_delivery_list: what was told, newest first.  $1 channel or null, $2 state (open, sent, gave_up) or null, $3 bigint before id (0: newest), $4 bigint limit, $5 the asking token's name, $6 boolean it manages, $7 project it is confined to or null.
-- @read
SELECT o.id, c.name AS channel, c.kind, c.address, o.event, o.data ->> 'project' AS project, o.data -> 'run_id' AS run_id, o.data ->> 'stage' AS stage, o.created_at, o.not_before, o.tries, o.sent_at, o.gave_up_at, o.last_error,
       CASE WHEN o.sent_at IS NOT NULL THEN 'sent' WHEN o.gave_up_at IS NOT NULL THEN 'gave_up' ELSE 'open' END AS state
  FROM notify_outbox o JOIN notify_channel c ON c.id = o.channel_id
 WHERE ($1::text IS NULL OR c.name = $1::text) AND ($3::bigint = 0 OR o.id < $3::bigint) AND notify_channel_seen(c, $5::text, $6::boolean, $7::text)
   AND ($7::text IS NULL OR o.data ->> 'project' IS NULL OR o.data ->> 'project' = $7::text)
   AND ($2::text IS NULL OR $2::text = CASE WHEN o.sent_at IS NOT NULL THEN 'sent' WHEN o.gave_up_at IS NOT NULL THEN 'gave_up' ELSE 'open' END)
 ORDER BY o.id DESC LIMIT $4::bigint;
