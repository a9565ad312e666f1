-- kb_indicator_put: a user's own indicator, added or edited.  $1 id (local/…), $2 jsonb data (checked), $3 actor.
-- Returns one row: id, revision bigint.
-- @write
INSERT INTO indicator (id, data, origin, updated_by) VALUES ($1::text, $2::jsonb, 'local', $3::text)
ON CONFLICT (id) DO UPDATE SET data = excluded.data, revision = indicator.revision + 1, updated_at = now(), updated_by = excluded.updated_by, retired_at = NULL, retired_by = NULL
 WHERE indicator.origin = 'local'
RETURNING id, revision::bigint AS revision;
