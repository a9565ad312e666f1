-- notify_channel_test: one message to a channel, past its digest and quiet hours.  $1 name, $2 actor, $3 boolean he manages, $4 project he is confined to or null.  0 rows: none that he may use.
-- @write
WITH put AS (
    INSERT INTO notify_outbox (channel_id, event, key, data)
    SELECT c.id, 'test', 'test ' || clock_timestamp(), jsonb_build_object('actor', $2::text, 'text', 'sent by ' || $2::text || ' to see whether it arrives') FROM notify_channel c
     WHERE c.name = $1::text AND notify_channel_seen(c, $2::text, $3::boolean, $4::text)
    RETURNING id
)
SELECT put.id, pg_notify('ptl_notify', '')::text AS woken FROM put;
