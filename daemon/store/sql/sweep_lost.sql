-- sweep_lost: agents that went silent past their lease lose their attempts.  $1 bigint losses allowed any stage (stage_losses_max).
-- State: stage claimed, running -> queued, red; cancelling -> cancelled.
-- @write
-- @repeatable
WITH silent AS (
    SELECT s.*, stage_losses_max($1::bigint, s.spec, s.retry_max, 'agent_lost') AS losses_max FROM stage s WHERE s.state IN ('claimed', 'running', 'cancelling') AND (s.lease_until < now() OR (s.state = 'cancelling' AND s.cancel_by < now())) ORDER BY s.lease_until LIMIT 500 FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE attempt a SET ok = false, end_reason = CASE WHEN silent.state = 'cancelling' THEN 'cancelled' ELSE 'agent_lost' END, ended_at = now(),
           message = CASE WHEN silent.state = 'cancelling' THEN 'the agent did not end it in time' ELSE 'agent ' || COALESCE(a.agent_name, '?') || ' was silent past its lease' END,
           diagnosis_state = CASE WHEN silent.state = 'cancelling' THEN 'none' ELSE 'pending' END
      FROM silent WHERE a.id = silent.attempt_id AND a.ended_at IS NULL
)
UPDATE stage s SET state = CASE WHEN silent.state = 'cancelling' THEN 'cancelled' WHEN silent.losses < silent.losses_max THEN 'queued' ELSE 'red' END,
       losses = s.losses + 1, lease_until = NULL, queued_at = now(), not_before = now(), ended_at = CASE WHEN silent.state = 'cancelling' OR silent.losses >= silent.losses_max THEN now() END,
       message = CASE WHEN silent.state = 'cancelling' THEN s.message ELSE 'agent ' || COALESCE((SELECT name FROM agent WHERE id = s.agent_id), '?') || ' was silent past its lease' END
  FROM silent WHERE s.id = silent.id
RETURNING s.run_id, s.id, s.name, s.state, s.fence;
