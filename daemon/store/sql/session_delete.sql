-- session_delete: a person logs out.  $1 bigint session.
-- @write
DELETE FROM web_session WHERE id = $1::bigint RETURNING id;
