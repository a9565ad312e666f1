-- resolution_store: what turned a stage green, and the failures that it resolves.  $1 bigint green attempt, $2 bigint red attempt, $3 change, $4 summary, $5 jsonb commits, $6 jsonb files, $7 diff or null, $8 jsonb cuts,
-- $9 jsonb environment, $10 jsonb agents.  Done again it changes nothing. The row of resolution_due stays until nothing is left to look at (resolution_done).
-- @write
-- @repeatable
WITH red AS (
    SELECT f.*, g.ended_at AS green_at, s.run_id AS green_run, r.commit_sha AS green_commit
      FROM failure f, attempt g JOIN stage s ON s.id = g.stage_id JOIN run r ON r.id = s.run_id WHERE f.attempt_id = $2::bigint AND g.id = $1::bigint
), kind AS MATERIALIZED (
    SELECT f.attempt_id, f.at FROM red JOIN failure f ON f.project_id = red.project_id AND f.stage = red.stage AND f.ref = red.ref AND f.resolved_at IS NULL AND f.run_id <= red.green_run AND f.attempt_id < $1::bigint AND f.at <= red.green_at
                    AND f.challenge_id IS NOT DISTINCT FROM red.challenge_id AND (f.challenge_id IS NOT NULL OR f.template_id IS NOT DISTINCT FROM red.template_id)
), put AS (
    INSERT INTO resolution (project_id, stage, kind, target, ref, challenge_id, template_id, red_attempt_id, green_attempt_id, red_commit, green_commit, first_red_at, green_at, minutes, failures, change, summary, commits, files, diff, cuts, environment, agents)
    SELECT red.project_id, red.stage, red.kind, red.target, red.ref, red.challenge_id, red.template_id, red.attempt_id, $1::bigint, red.commit_sha, red.green_commit, LEAST(red.at, (SELECT min(at) FROM kind)), red.green_at,
           extract(epoch FROM red.green_at - LEAST(red.at, (SELECT min(at) FROM kind))) / 60, (SELECT count(*) FROM kind), $3::text, $4::text, $5::jsonb, $6::jsonb, $7::text, $8::jsonb, $9::jsonb, $10::jsonb
      FROM red
    ON CONFLICT (green_attempt_id, red_attempt_id) DO NOTHING
    RETURNING id, project_id
), known AS (
    SELECT id FROM put UNION ALL SELECT id FROM resolution WHERE green_attempt_id = $1::bigint AND red_attempt_id = $2::bigint LIMIT 1
), solved AS (
    UPDATE failure f SET resolved_at = red.green_at, resolution_id = (SELECT id FROM known), cost_minutes = f.run_minutes + extract(epoch FROM red.green_at - f.at) / 60
      FROM red, kind WHERE f.attempt_id = kind.attempt_id RETURNING f.attempt_id
), again AS (
    UPDATE resolution_due SET until = NULL WHERE green_attempt_id = $1::bigint
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT put.project_id, s.run_id, s.id, a.id, 'resolution', jsonb_build_object('id', put.id) FROM put, attempt a JOIN stage s ON s.id = a.stage_id WHERE a.id = $1::bigint
    RETURNING pg_notify('ptl_event', '')
)
SELECT (SELECT id FROM known) AS id, (SELECT count(*) FROM solved) AS failures, (SELECT count(*) FROM told) AS told;
