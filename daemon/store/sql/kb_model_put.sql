-- kb_model_put: a text model of this database's own; null takes it away and the shipped one is in force again.  $1 bytea or null, $2 bigint cases, $3 actor.
-- What is another now leaves a row in kb_change: its digest, size and number of cases, not the model.
-- @write bulk
WITH old AS (
    SELECT jsonb_build_object('sha256', encode(sha256(data), 'hex'), 'bytes', octet_length(data), 'cases', cases) AS about FROM kb_model WHERE name = 'text'
), new AS (
    SELECT jsonb_build_object('sha256', encode(sha256($1::bytea), 'hex'), 'bytes', octet_length($1::bytea), 'cases', $2::bigint) AS about WHERE $1::bytea IS NOT NULL
), told AS (
    INSERT INTO kb_change (actor, object, action, before, after)
    SELECT $3::text, 'text model', CASE WHEN new.about IS NULL THEN 'retire' WHEN old.about IS NULL THEN 'add' ELSE 'edit' END, old.about, new.about
      FROM old FULL JOIN new ON true WHERE old.about IS DISTINCT FROM new.about
), gone AS (
    DELETE FROM kb_model WHERE name = 'text' AND $1::bytea IS NULL
)
INSERT INTO kb_model (name, data, cases, made_by) SELECT 'text', $1::bytea, $2::bigint, $3::text WHERE $1::bytea IS NOT NULL
ON CONFLICT (name) DO UPDATE SET data = excluded.data, cases = excluded.cases, made_by = excluded.made_by, made_at = now();
