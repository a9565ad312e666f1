-- resolution_claim: one green attempt after failures, and the newest failure of the kind to look at first: what changed between.  Looked at when every failure before it is diagnosed, or ten minutes later.
-- Failures are of one kind that have the same challenge, or the same template when none is known. Only failures of this run and earlier ones count: an old run made green again mends no newer one.
-- Returns 0 or 1 row; red_attempt_id null: nothing is left to look at.
-- @write
WITH due AS (
    SELECT green_attempt_id FROM resolution_due WHERE due_at <= now() AND (until IS NULL OR until < now()) ORDER BY due_at, green_attempt_id LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE resolution_due d SET until = now() + interval '2 minutes', tries = d.tries + 1 FROM due WHERE d.green_attempt_id = due.green_attempt_id RETURNING d.green_attempt_id, d.tries, d.due_at
), green AS (
    SELECT t.green_attempt_id, t.tries, t.due_at, a.ended_at, a.environment, a.agent_name, s.name AS stage, s.run_id, r.project_id, r.ref, r.commit_sha, p.url, p.credential_kind, p.credential_user, p.credential, p.name AS project
      FROM taken t JOIN attempt a ON a.id = t.green_attempt_id JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
), open AS (
    SELECT f.attempt_id, f.at, f.commit_sha, f.agent, f.challenge_id, f.template_id, a.environment, a.diagnosis_state,
           count(*) OVER kind AS failures, min(f.at) OVER kind AS first_red_at, bool_or(a.diagnosis_state = 'pending') OVER () AS undiagnosed
      FROM green JOIN failure f ON f.project_id = green.project_id AND f.stage = green.stage AND f.ref = green.ref AND f.resolved_at IS NULL
                                AND f.run_id <= green.run_id AND f.attempt_id < green.green_attempt_id AND f.at <= green.ended_at
      JOIN attempt a ON a.id = f.attempt_id
    WINDOW kind AS (PARTITION BY COALESCE(f.challenge_id, ''), CASE WHEN f.challenge_id IS NULL THEN f.template_id END)
     ORDER BY f.attempt_id DESC LIMIT 1
)
SELECT g.green_attempt_id, g.tries, g.ended_at AS green_at, g.stage, g.project_id, g.project, g.commit_sha AS green_commit, g.url, g.credential_kind, g.credential_user, g.credential,
       o.attempt_id AS red_attempt_id, o.commit_sha AS red_commit, COALESCE(o.undiagnosed, false) AND g.due_at > now() - interval '10 minutes' AS wait,
       jsonb_build_object('before', o.agent, 'after', g.agent_name) AS agents,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('tool', k, 'before', o.environment ->> k, 'after', g.environment ->> k) ORDER BY k), '[]')
          FROM (SELECT jsonb_object_keys(o.environment) UNION SELECT jsonb_object_keys(g.environment)) AS keys (k) WHERE o.environment ->> k IS DISTINCT FROM g.environment ->> k) AS environment
  FROM green g LEFT JOIN open o ON true;
