-- notify_channel_put: a new channel ($1 false) or changes to one ($1 true; null leaves as it is).  $2 name, $3 kind, $4 person's handle, 'me' or null (shared), $5 project or null, $6 address as shown, $7 bytea url sealed, $8 bytea secret sealed,
-- $9 template, $10 text[] events or null, $11 digest, $12 bigint digest hour, $13 bigint quiet from, $14 bigint quiet to (-1: no quiet hours), $15 time zone or null (of a new one: the person's, else UTC), $16 actor, $17 boolean he manages, $18 project he is confined to or null.
-- @write
SELECT notify_channel_put($1::boolean, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bytea, $8::bytea, $9::text, $10::text[], $11::text, $12::bigint, $13::bigint, $14::bigint,
    COALESCE($15::text, CASE WHEN NOT $1::boolean THEN (SELECT time_zone FROM person WHERE id = CASE WHEN $4::text = 'me' THEN person_of_token_found($16::text) ELSE person_find($4::text) END) END), $16::text, $17::boolean, $18::text) AS id;
