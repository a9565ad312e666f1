-- project_secret_list: names and policies, never values.  $1 project name.
-- @read
SELECT s.name, s.refs, s.stages, s.updated_at FROM project_secret s JOIN project p ON p.id = s.project_id WHERE p.name = $1::text AND p.archived_at IS NULL ORDER BY s.name LIMIT 1000;
