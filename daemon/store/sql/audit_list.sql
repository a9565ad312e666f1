-- audit_list: newest first.  $1 bigint before id (0: newest), $2 bigint limit.
-- @read
SELECT id, at, actor, action, object, detail FROM audit WHERE $1::bigint = 0 OR id < $1::bigint ORDER BY id DESC LIMIT $2::bigint;
