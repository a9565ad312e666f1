-- agent_set_state: active, draining or removed.  $1 text name, $2 text state.  0 or 1 row.
-- @write
-- @repeatable
WITH done AS (
    UPDATE agent SET state = $2::text WHERE name = $1::text AND state <> 'removed' RETURNING id, name, state
), gone AS (
    UPDATE token t SET revoked_at = now() FROM done WHERE t.agent_id = done.id AND done.state = 'removed' AND t.revoked_at IS NULL
)
SELECT id, name, state FROM done;
