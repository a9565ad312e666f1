-- notify_channel_remove: with what is still to be told through it.  $1 name, $2 actor, $3 boolean he manages, $4 project he is confined to or null.  0 rows: none that he may remove.
-- @write
DELETE FROM notify_channel c WHERE c.name = $1::text AND notify_channel_seen(c, $2::text, $3::boolean, $4::text) RETURNING c.id, c.name;
