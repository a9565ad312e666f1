-- agent_touch: a heartbeat is a sign of life too: an agent with all slots taken asks for nothing.  $1 bigint agent.
-- @write bulk
-- @repeatable
UPDATE agent SET last_seen_at = now() WHERE id = $1::bigint AND (last_seen_at IS NULL OR last_seen_at < now() - interval '10 seconds');
