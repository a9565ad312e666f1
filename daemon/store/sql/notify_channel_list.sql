-- notify_channel_list: $1 name after, $2 bigint limit, $3 the asking token's name, $4 boolean it manages, $5 project it is confined to or null, $6 name or null: only this one.  Whoever does not manage sees his own.
-- @read
SELECT c.name, c.kind, p.name AS person, y.name AS project, c.address, c.secret IS NOT NULL AS signed, c.template, c.events, c.digest, c.digest_hour,
       CASE WHEN c.quiet_from IS NOT NULL THEN to_char(make_time(c.quiet_from / 60, c.quiet_from % 60, 0), 'HH24:MI') END AS quiet_from,
       CASE WHEN c.quiet_to IS NOT NULL THEN to_char(make_time(c.quiet_to / 60, c.quiet_to % 60, 0), 'HH24:MI') END AS quiet_to, c.time_zone, c.created_by, c.created_at,
       o.sent, o.open, o.gave_up, c.last_error, o.last_sent_at, CASE WHEN c.fails > 0 THEN 'failing' WHEN c.last_error IS NOT NULL THEN 'refused' ELSE 'ok' END AS state, c.fails, c.failing_since, c.paused_until
  FROM notify_channel c LEFT JOIN person p ON p.id = c.person_id LEFT JOIN project y ON y.id = c.project_id
 CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE sent_at IS NOT NULL) AS sent, count(*) FILTER (WHERE sent_at IS NULL AND gave_up_at IS NULL) AS open, count(*) FILTER (WHERE gave_up_at IS NOT NULL) AS gave_up,
                            max(x.sent_at) AS last_sent_at
                       FROM (SELECT * FROM notify_outbox n WHERE n.channel_id = c.id ORDER BY n.id DESC LIMIT 1000) x) o
 WHERE c.name > $1::text AND ($6::text IS NULL OR c.name = $6::text) AND notify_channel_seen(c, $3::text, $4::boolean, $5::text)
 ORDER BY c.name LIMIT $2::bigint;
