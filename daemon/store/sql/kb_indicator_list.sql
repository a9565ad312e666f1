-- kb_indicator_list: $1 text area or null, $2 text after this id, $3 bigint limit, $4 boolean retired ones too.
-- @read
SELECT id, data, origin, revision, updated_at, updated_by, retired_at, retired_by FROM indicator
 WHERE id > COALESCE($2::text, '') AND ($1::text IS NULL OR starts_with(id, $1::text || '/')) AND ($4::boolean OR retired_at IS NULL)
 ORDER BY id LIMIT $3::bigint;
