-- stage_heartbeat: these attempts live.  $1 bigint agent, $2 bigint[] attempts, $3 bigint[] fences, $4 bigint lease ms.  Returns those that are still the agent's.
-- @write
-- @repeatable
UPDATE stage s SET lease_until = now() + $4::bigint * interval '1 ms'
  FROM unnest($2::bigint[], $3::bigint[]) AS h (attempt_id, fence)
 WHERE s.attempt_id = h.attempt_id AND s.fence = h.fence AND s.agent_id = $1::bigint AND s.state IN ('claimed', 'running', 'cancelling')
RETURNING s.attempt_id, s.state;
