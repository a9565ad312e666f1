-- ref_seen_follow: a webhook, a hook or a poll told of pushes: what polling compares with moves along, so that a poll does not tell of them again with an older "before".
-- Only where polling has looked before: its first look notes all refs and starts nothing, and must stay the first.
-- $1 bigint project, $2 jsonb pushes as in delivery_add (null after: the ref is gone).
-- @write
-- @repeatable
WITH told AS (
    SELECT DISTINCT ON (j ->> 'ref') j ->> 'ref' AS ref, j ->> 'after' AS sha
      FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY AS e (j, ord)
     WHERE EXISTS (SELECT 1 FROM project p WHERE p.id = $1::bigint AND p.polled_at IS NOT NULL)
     ORDER BY j ->> 'ref', ord DESC
), gone AS (
    DELETE FROM ref_seen s USING told WHERE s.project_id = $1::bigint AND s.ref = told.ref AND told.sha IS NULL
)
INSERT INTO ref_seen (project_id, ref, sha) SELECT $1::bigint, ref, sha FROM told WHERE sha IS NOT NULL
ON CONFLICT (project_id, ref) DO UPDATE SET sha = EXCLUDED.sha, seen_at = now();
