-- kb_change_list: history of the knowledge, newest first.  $1 text object or null: all, $2 bigint before this id or null, $3 bigint limit.
-- @read
SELECT id, at, actor, object, action, before, after FROM kb_change
 WHERE ($1::text IS NULL OR object = $1::text) AND ($2::bigint IS NULL OR id < $2::bigint) ORDER BY id DESC LIMIT $3::bigint;
