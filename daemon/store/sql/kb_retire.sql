-- kb_retire: an indicator of either origin is silent from now on, or speaks again.  $1 id, $2 boolean retired, $3 actor.
-- Returns one row: id, revision bigint, retired boolean, changed boolean; no row: there is none.
-- @write
-- @repeatable
WITH put AS (
    UPDATE indicator SET retired_at = CASE WHEN $2::boolean THEN now() END, retired_by = CASE WHEN $2::boolean THEN $3::text END, updated_at = now(), updated_by = $3::text
     WHERE id = $1::text AND (retired_at IS NOT NULL) <> $2::boolean RETURNING id
)
SELECT id, revision::bigint AS revision, $2::boolean AS retired, EXISTS (SELECT 1 FROM put) AS changed FROM indicator WHERE id = $1::text;
