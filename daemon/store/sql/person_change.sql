-- person_change: $1 handle, $2 actor, $3 boolean he manages, $4 display name or null, $5 forge login or null, $6 boolean suggestions or null, $7 text[] addresses to add, $8 to remove, $9 text[] tokens to add, $10 to remove,
-- $11 project the actor is confined to or null, $12 time zone ('': none) or null.
-- @write
SELECT person_set($1::text, $2::text, $3::boolean, $4::text, $5::text, $6::boolean, $7::text[], $8::text[], $9::text[], $10::text[], $11::text, $12::text) AS id;
