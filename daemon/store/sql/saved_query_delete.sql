-- saved_query_delete: forgets a saved search of one's own.  $1 bigint id, $2 token name.
-- @write
-- @repeatable
DELETE FROM saved_query WHERE id = $1::bigint AND owner = $2::text RETURNING id, name;
