-- project_secret_put: $1 project name, $2 secret name, $3 sealed value, $4 text[] ref globs, $5 text[] stage globs.  0 rows: no such project.
-- @write
-- @repeatable
INSERT INTO project_secret (project_id, name, value, refs, stages)
SELECT id, $2::text, $3::bytea, $4::text[], $5::text[] FROM project WHERE name = $1::text AND archived_at IS NULL
ON CONFLICT (project_id, name) DO UPDATE SET value = EXCLUDED.value, refs = EXCLUDED.refs, stages = EXCLUDED.stages, updated_at = now()
RETURNING name;
