-- person_merge: $1 handle that goes, $2 handle that stays.
-- @write
SELECT person_merge($1::text, $2::text) AS id;
