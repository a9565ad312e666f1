-- kb_model_put: a text model of this database's own; null takes it away and the shipped one is in force again.  $1 bytea or null, $2 bigint cases, $3 actor.
-- @write bulk
WITH gone AS (
    DELETE FROM kb_model WHERE name = 'text' AND $1::bytea IS NULL
)
INSERT INTO kb_model (name, data, cases, made_by) SELECT 'text', $1::bytea, $2::bigint, $3::text WHERE $1::bytea IS NOT NULL
ON CONFLICT (name) DO UPDATE SET data = excluded.data, cases = excluded.cases, made_by = excluded.made_by, made_at = now();
