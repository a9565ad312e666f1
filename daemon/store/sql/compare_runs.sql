-- compare_runs: a run, or one stage of it, beside the last good one before it, or beside a named run.  $1 bigint run, $2 bigint the run to compare with, 0: the last good one, $3 stage's name or null: its first red one, if any,
-- $4 project the asking token is confined to or null.
-- Last good: the newest run before it in which this stage was green (without a stage: a green run), of the same ref, else of any; the newest 2000 runs of the project are looked at.
-- Returns 0 rows: no such run; with_id null: nothing to compare with.
-- @read
WITH me AS (
    SELECT r.*, p.name AS project, p.url, p.credential_kind, p.credential_user, p.credential, COALESCE($3::text, (SELECT name FROM stage WHERE run_id = r.id AND state = 'red' ORDER BY position LIMIT 1)) AS stage
      FROM run r JOIN project p ON p.id = r.project_id WHERE r.id = $1::bigint AND ($4::text IS NULL OR p.name = $4::text)
), near AS (
    SELECT b.id, b.ref, b.state FROM me CROSS JOIN LATERAL (SELECT x.* FROM run x WHERE x.project_id = me.project_id AND x.id < me.id ORDER BY x.id DESC LIMIT 2000) b WHERE $2::bigint = 0
), good AS (
    SELECT COALESCE((SELECT n.id FROM near n, me WHERE n.ref = me.ref AND CASE WHEN me.stage IS NULL THEN n.state = 'green' ELSE EXISTS (SELECT 1 FROM stage s WHERE s.run_id = n.id AND s.name = me.stage AND s.state = 'green') END ORDER BY n.id DESC LIMIT 1),
                    (SELECT n.id FROM near n, me WHERE CASE WHEN me.stage IS NULL THEN n.state = 'green' ELSE EXISTS (SELECT 1 FROM stage s WHERE s.run_id = n.id AND s.name = me.stage AND s.state = 'green') END ORDER BY n.id DESC LIMIT 1),
                    (SELECT x.id FROM run x, me WHERE x.id = $2::bigint AND x.project_id = me.project_id)) AS id
)
SELECT me.id, me.number, me.project_id, me.project, me.ref, me.commit_sha, me.commit_message, me.stage, me.url, me.credential_kind, me.credential_user, me.credential,
       b.id AS with_id, b.number AS with_number, b.ref AS with_ref, b.state AS with_state, b.commit_sha AS with_commit, b.commit_message AS with_message, b.ended_at AS with_at,
       s.id IS NOT NULL AS has_stage, x.id IS NOT NULL AS with_has_stage, s.attempt_id, x.attempt_id AS with_attempt_id,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('tool', k, 'before', o.environment ->> k, 'after', a.environment ->> k) ORDER BY k), '[]')
          FROM (SELECT jsonb_object_keys(o.environment) UNION SELECT jsonb_object_keys(a.environment)) AS keys (k) WHERE o.environment ->> k IS DISTINCT FROM a.environment ->> k) AS environment,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', f.name, 'before', f.before, 'after', f.after)), '[]')
          FROM (VALUES ('recipe', x.uses, s.uses), ('toolchain', x.toolchain, s.toolchain), ('agent', o.agent_name, a.agent_name), ('sandbox', o.sandbox, a.sandbox)) AS f (name, before, after) WHERE f.before IS DISTINCT FROM f.after) AS where_it_ran,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', f.name, 'before', f.before, 'after', f.after) ORDER BY f.name), '[]')
          FROM (SELECT 'duration_ms' AS name, to_jsonb(o.duration_ms) AS before, to_jsonb(a.duration_ms) AS after UNION ALL SELECT 'peak_memory_bytes', to_jsonb(o.peak_memory_bytes), to_jsonb(a.peak_memory_bytes)
                UNION ALL SELECT k, o.report -> 'metrics' -> k, a.report -> 'metrics' -> k
                  FROM (SELECT jsonb_object_keys(CASE WHEN jsonb_typeof(o.report -> 'metrics') = 'object' THEN o.report -> 'metrics' ELSE '{}' END)
                        UNION SELECT jsonb_object_keys(CASE WHEN jsonb_typeof(a.report -> 'metrics') = 'object' THEN a.report -> 'metrics' ELSE '{}' END)) AS keys (k) WHERE k NOT IN ('duration_ms', 'peak_memory_bytes')) AS f
         WHERE f.before IS DISTINCT FROM f.after AND COALESCE(jsonb_typeof(f.before), 'number') IN ('number', 'null') AND COALESCE(jsonb_typeof(f.after), 'number') IN ('number', 'null')) AS figures
  FROM me LEFT JOIN good ON true LEFT JOIN run b ON b.id = good.id
  LEFT JOIN stage s ON s.run_id = me.id AND s.name = me.stage LEFT JOIN stage x ON x.run_id = b.id AND x.name = me.stage
  LEFT JOIN attempt a ON a.id = s.attempt_id LEFT JOIN attempt o ON o.id = x.attempt_id;
