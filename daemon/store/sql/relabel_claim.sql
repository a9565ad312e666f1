-- relabel_claim: the next attempts of the past to be diagnosed anew, newest first.  $1 text hash of the knowledge in force here, $2 bigint limit, $3 text who asks.
-- One daemon at a time: the advisory lock while it is asked, the lease until it is stored (relabel_store) or its holder is dead. Nothing while fresh failures wait for their diagnosis. Attempts whose log has gone keep their answer.
-- Returns no row (nothing to do now); or one row with id null: the end was reached; or rows: job bigint, at_id bigint, and each attempt as diagnosis_claim gives it.
-- @write
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(hashtext('portolan relabel')) AS got
), job AS (
    SELECT j.* FROM kb_apply j, lock
     WHERE lock.got AND j.ended_at IS NULL AND j.kb = $1::text AND (j.lease_until IS NULL OR j.lease_until < now() OR j.holder = $3::text)
       AND NOT EXISTS (SELECT 1 FROM attempt WHERE diagnosis_state = 'pending') ORDER BY j.id DESC LIMIT 1
), due AS (
    SELECT a.* FROM job, LATERAL (SELECT a.* FROM attempt a WHERE a.id < job.at_id AND a.diagnosis_state IN ('done', 'failed') AND a.log_pruned_at IS NULL AND (job.forced OR a.diagnosis ->> 'kb' IS DISTINCT FROM job.kb) ORDER BY a.id DESC LIMIT $2::bigint) AS a
), held AS (
    UPDATE kb_apply k SET holder = $3::text, lease_until = CASE WHEN EXISTS (SELECT 1 FROM due) THEN now() + interval '30 seconds' END,
           ended_at = CASE WHEN NOT EXISTS (SELECT 1 FROM due) THEN now() END, total = CASE WHEN NOT EXISTS (SELECT 1 FROM due) THEN k.done ELSE k.total END
      FROM job WHERE k.id = job.id
    RETURNING k.id, k.at_id, k.total, k.changed, k.kept
)
SELECT held.id AS job, held.at_id, held.total AS job_total, held.changed AS job_changed, held.kept AS job_kept, a.id, a.end_reason, a.exit_code, a.signal, a.message, a.report, a.environment, a.warnings, a.log_bytes, s.kind, s.target, s.host, s.uses, s.toolchain,
       (SELECT e.environment FROM stage x JOIN attempt e ON e.id = x.attempt_id WHERE x.run_id = s.run_id AND x.kind = 'export' LIMIT 1) AS export_environment,
       (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1) AS target_host,
       (SELECT jsonb_object_agg(n.challenge_id, n.failures - (n.challenge_id = a.challenge_id)::int) FROM challenge_count n WHERE n.project_id = r.project_id AND n.failures > 0) AS counts,
       preflight_of(s.run_id, s.name) AS preflight
  FROM held LEFT JOIN due a ON true LEFT JOIN stage s ON s.id = a.stage_id LEFT JOIN run r ON r.id = s.run_id ORDER BY a.id DESC;
