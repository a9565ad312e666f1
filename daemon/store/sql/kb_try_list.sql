-- kb_try_list: failed attempts with a log, newest first, with what a diagnosis reads of them.  $1 bigint only before this id or null, $2 bigint limit, $3 text only of this
-- project (name) or null, $4 text[] hosts of the target or empty.
-- @read
SELECT a.id, a.end_reason, a.exit_code, a.signal, a.message, a.report, a.environment, a.warnings, a.log_bytes, a.challenge_id, a.challenge_by,
       s.kind, s.target, s.host, s.uses, s.toolchain, s.name AS stage, s.id AS stage_id, s.run_id, r.number AS run_number, p.name AS project,
       (SELECT e.environment FROM stage x JOIN attempt e ON e.id = x.attempt_id WHERE x.run_id = s.run_id AND x.kind = 'export' LIMIT 1) AS export_environment,
       (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1) AS target_host,
       (SELECT jsonb_object_agg(n.challenge_id, n.failures) FROM challenge_count n WHERE n.project_id = r.project_id AND n.failures > 0) AS counts,
       preflight_of(s.run_id, s.name) AS preflight
  FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
 WHERE a.diagnosis_state IN ('done', 'failed') AND a.log_pruned_at IS NULL AND ($1::bigint IS NULL OR a.id < $1::bigint) AND ($3::text IS NULL OR p.name = $3::text)
   AND (cardinality($4::text[]) = 0 OR s.host = ANY ($4::text[]) OR (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1) = ANY ($4::text[]))
 ORDER BY a.id DESC LIMIT $2::bigint;
