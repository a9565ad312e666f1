-- ref_seen_put: $1 bigint project, $2 ref, $3 sha or null (the ref is gone).
-- @write
-- @repeatable
WITH gone AS (DELETE FROM ref_seen WHERE project_id = $1::bigint AND ref = $2::text AND $3::text IS NULL)
INSERT INTO ref_seen (project_id, ref, sha) SELECT $1::bigint, $2::text, $3::text WHERE $3::text IS NOT NULL
ON CONFLICT (project_id, ref) DO UPDATE SET sha = EXCLUDED.sha, seen_at = now();
