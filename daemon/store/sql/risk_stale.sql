-- risk_stale: stages that wait and whose project has had outcomes since their risk was weighed.  $1 bigint limit.  By project, so that one look serves many.
-- @read
SELECT s.id, s.name, s.kind, COALESCE(s.target, '') AS target, s.platform, s.spec, s.risk -> 'facts' AS facts, s.run_id, r.project_id, r.ref
  FROM stage s JOIN run r ON r.id = s.run_id
 WHERE s.id IN (SELECT w.id FROM stage w JOIN run x ON x.id = w.run_id
                 WHERE w.state IN ('waiting', 'gated', 'queued') AND w.risk IS NOT NULL
                   AND w.risk_seen < (SELECT max(o.id) FROM risk_outcome o WHERE o.project_id = x.project_id) ORDER BY x.project_id, w.id LIMIT $1::bigint)
 ORDER BY r.project_id, r.ref, s.run_id, s.id;
