-- project_secret_delete: $1 project name, $2 secret name.
-- @write
-- @repeatable
DELETE FROM project_secret s USING project p WHERE p.id = s.project_id AND p.name = $1::text AND s.name = $2::text RETURNING s.name;
