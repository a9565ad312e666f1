-- failure_get: one failure with its quoted lines.  $1 bigint attempt.
-- @read
SELECT v.*, f.evidence, f.versions, f.uses, f.fingerprint, t.text AS template, f.run_minutes::double precision AS run_minutes, a.log_bytes, a.log_pruned_at
  FROM failure_item v JOIN failure f USING (attempt_id) JOIN attempt a ON a.id = f.attempt_id LEFT JOIN failure_template t ON t.id = f.template_id WHERE v.attempt_id = $1::bigint;
