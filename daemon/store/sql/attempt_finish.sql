-- attempt_finish: how an attempt ended and what becomes of its stage.  $1 bigint attempt, $2 bigint fence, $3 bigint agent, $4 boolean ok, $5 end reason, $6 bigint exit code, $7 bigint signal,
-- $8 message, $9 bigint duration ms, $10 bigint peak bytes, $11 sandbox, $12 jsonb environment, $13 jsonb warnings, $14 jsonb report, $15 bigint log bytes, $16 jsonb artifacts, $17 bigint losses allowed.
-- Returns one row: run_id, result 'done' | 'repeated' (the same finish came before) ; no row: stale fence.
-- A failure with retries left that its policy may spend (when: transient, unclear, or the way it ended) waits for its diagnosis, at most 5 minutes: stage_decide. `always` asks nobody.
-- State: stage claimed, running -> green, red, queued, deciding; cancelling -> cancelled.
-- @write
-- @repeatable
WITH held AS (
    SELECT s.* FROM stage s WHERE s.attempt_id = $1::bigint AND s.fence = $2::bigint AND s.agent_id = $3::bigint AND s.state IN ('claimed', 'running', 'cancelling') FOR UPDATE
), next AS (
    SELECT h.id, h.run_id, h.retries, h.retry_max, CASE
               WHEN h.state = 'cancelling' THEN 'cancelled'
               WHEN $4::boolean THEN 'green'
               WHEN $5::text IN ('setup', 'agent_lost') THEN CASE WHEN h.losses < stage_losses_max($17::bigint, h.spec, h.retry_max, $5::text) THEN 'queued' ELSE 'red' END
               WHEN $5::text = 'cancelled' THEN 'queued'
               WHEN h.retries < h.retry_max AND h.spec #> '{retry,when}' ? 'always' THEN 'queued'
               WHEN h.retries < h.retry_max AND h.spec #> '{retry,when}' ?| ARRAY[$5::text, 'transient', 'unclear'] THEN 'deciding'
               ELSE 'red' END AS state
      FROM held h
), ended AS (
    UPDATE attempt a SET ok = $4::boolean AND next.state = 'green', end_reason = CASE WHEN next.state = 'cancelled' THEN 'cancelled' ELSE $5::text END, exit_code = $6::bigint, signal = $7::bigint, message = $8::text,
           duration_ms = $9::bigint, peak_memory_bytes = $10::bigint, sandbox = $11::text, environment = COALESCE($12::jsonb, '{}'), warnings = COALESCE($13::jsonb, '[]'), report = $14::jsonb,
           ended_at = now(), log_complete = a.log_bytes >= $15::bigint,
           retry = CASE WHEN $4::boolean OR next.state IN ('cancelled', 'deciding') OR $5::text IN ('setup', 'agent_lost', 'cancelled') THEN NULL ELSE jsonb_build_object('retry', next.state = 'queued', 'verdict', NULL, 'at', now(),
               'retries_left', next.retry_max - next.retries, 'why', CASE WHEN next.state = 'queued' THEN 'tried again: its retry policy says always, retry ' || next.retries + 1 || ' of ' || next.retry_max
                   WHEN next.retry_max = 0 THEN 'not tried again: its retry policy allows none' WHEN next.retries >= next.retry_max THEN 'not tried again: all of its ' || next.retry_max || ' retries are spent'
                   ELSE 'not tried again: its retry policy names neither transient, unclear nor ' || $5::text END) END,
           diagnosis_state = CASE WHEN $4::boolean OR next.state = 'cancelled' OR $5::text = 'cancelled' THEN 'none' ELSE 'pending' END
      FROM next WHERE a.id = $1::bigint AND a.ended_at IS NULL
    RETURNING a.id
), kept AS (
    INSERT INTO artifact (attempt_id, path, sha256, size_bytes, exec)
    SELECT ended.id, f.path, f.sha256, f.size_bytes, COALESCE(f.exec, false) FROM ended, jsonb_to_recordset(COALESCE($16::jsonb, '[]')) AS f (path text, sha256 text, size_bytes bigint, exec boolean)
    ON CONFLICT DO NOTHING
), moved AS (
    UPDATE stage s SET state = next.state, message = CASE WHEN next.state = 'green' THEN NULL ELSE $8::text END, lease_until = NULL,
           losses = s.losses + CASE WHEN $5::text IN ('setup', 'agent_lost') THEN 1 ELSE 0 END,
           retries = s.retries + CASE WHEN next.state = 'queued' AND $5::text NOT IN ('setup', 'agent_lost', 'cancelled') THEN 1 ELSE 0 END,
           ended_at = CASE WHEN next.state IN ('queued', 'deciding') THEN NULL ELSE now() END, decide_by = CASE WHEN next.state = 'deciding' THEN now() + interval '5 minutes' END,
           queued_at = CASE WHEN next.state = 'queued' THEN now() ELSE s.queued_at END,
           not_before = CASE WHEN next.state = 'queued' THEN now() + LEAST(60000, 1000 * 2 ^ (s.retries + s.losses)) * (0.5 + random()) * interval '1 ms' ELSE s.not_before END
      FROM next WHERE s.id = next.id
    RETURNING s.run_id, s.state
)
SELECT run_id, state, 'done' AS result FROM moved
UNION ALL
SELECT s.run_id, s.state, 'repeated' FROM attempt a JOIN stage s ON s.id = a.stage_id
 WHERE a.id = $1::bigint AND a.fence = $2::bigint AND a.agent_id = $3::bigint AND a.ended_at IS NOT NULL AND a.end_reason <> 'agent_lost' AND NOT EXISTS (SELECT 1 FROM moved);
