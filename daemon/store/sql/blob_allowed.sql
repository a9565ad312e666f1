-- blob_allowed: may this agent read this blob: it is the source, model or golden set of an attempt that it holds.  $1 bigint agent, $2 text sha256.
-- @read
SELECT EXISTS (
    SELECT 1 FROM stage c JOIN run r ON r.id = c.run_id
     WHERE c.agent_id = $1::bigint AND c.state IN ('claimed', 'running', 'cancelling')
       AND (r.source_sha256 = $2::text
            OR EXISTS (SELECT 1 FROM stage m JOIN artifact f ON f.attempt_id = m.attempt_id WHERE m.id IN (c.model_stage_id, c.golden_stage_id) AND f.sha256 = $2::text))) AS allowed;
