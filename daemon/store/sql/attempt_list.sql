-- attempt_list: the attempts of a stage, newest first.  $1 bigint stage, $2 bigint limit.
-- @read
SELECT id, fence, agent_name, claimed_at, started_at, ended_at, ok, end_reason, exit_code, signal, message, duration_ms, log_bytes, diagnosis_state, challenge_id, challenge_by, retry FROM attempt WHERE stage_id = $1::bigint ORDER BY fence DESC LIMIT $2::bigint;
