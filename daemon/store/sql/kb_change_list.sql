-- kb_change_list: history of the knowledge, newest first.  $1 text object ('indicator local/x', 'entry …', or the id alone) or null: all, $2 bigint before this id or null, $3 bigint limit.
-- @read
SELECT id, at, actor, object, action, before, after FROM kb_change
 WHERE ($1::text IS NULL OR object IN ($1::text, 'indicator ' || $1::text, 'entry ' || $1::text)) AND ($2::bigint IS NULL OR id < $2::bigint) ORDER BY id DESC LIMIT $3::bigint;
