-- person_add: $1 handle, $2 display name or null, $3 forge login or null, $4 text[] addresses, $5 text[] token names, $6 created by.  A conflict names whose handle, address or token it is.
-- @write
SELECT person_add($1::text, $2::text, $3::text, $4::text[], $5::text[], $6::text) AS id;
