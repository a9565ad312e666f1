-- kb_indicator_retire: an indicator of either origin is silent from now on, or speaks again.  $1 id, $2 boolean retired, $3 actor.
-- Returns one row: id; no row: there is none, or it is so already.
-- @write
UPDATE indicator SET retired_at = CASE WHEN $2::boolean THEN now() END, retired_by = CASE WHEN $2::boolean THEN $3::text END, updated_at = now(), updated_by = $3::text
 WHERE id = $1::text AND (retired_at IS NOT NULL) <> $2::boolean
RETURNING id;
