-- kb_indicator_get: $1 id. Returns 0 or 1 row.
-- @read
SELECT id, data, origin, revision, updated_at, updated_by, retired_at, retired_by FROM indicator WHERE id = $1::text;
