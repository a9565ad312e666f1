-- ref_seen_note: refs as the first look at a repository found them.  $1 bigint project, $2 jsonb [{ref, sha}], each ref once.
-- @write
-- @repeatable
INSERT INTO ref_seen (project_id, ref, sha)
SELECT $1::bigint, r.ref, r.sha FROM jsonb_to_recordset($2::jsonb) AS r (ref text, sha text)
ON CONFLICT (project_id, ref) DO UPDATE SET sha = EXCLUDED.sha, seen_at = now();
