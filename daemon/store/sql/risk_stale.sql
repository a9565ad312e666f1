-- risk_stale: stages that wait and whose project has had outcomes, or whose run was looked at by pre-flight, since their risk was weighed; those looked at first, then those weighed longest ago.
-- $1 bigint limit.  By run, so that one look serves all of its stages.
-- @read
WITH waiting AS (
    SELECT w.id, w.run_id, w.risk_seen, w.risk_looks, x.project_id FROM stage w JOIN run x ON x.id = w.run_id WHERE w.state IN ('waiting', 'gated', 'queued') AND w.risk IS NOT NULL
), newest AS MATERIALIZED (
    SELECT d.project_id, (SELECT max(o.id) FROM risk_outcome o WHERE o.project_id = d.project_id) AS id FROM (SELECT DISTINCT project_id FROM waiting) d
), looks AS MATERIALIZED (
    SELECT d.run_id, (SELECT count(*) FROM preflight f WHERE f.run_id = d.run_id AND f.state <> 'pending') AS n FROM (SELECT DISTINCT run_id FROM waiting) d
), stale AS (
    SELECT w.id FROM waiting w JOIN newest n ON n.project_id = w.project_id JOIN looks l ON l.run_id = w.run_id
     WHERE w.risk_seen < n.id OR w.risk_looks < l.n ORDER BY w.risk_looks < l.n DESC, w.risk_seen, w.id LIMIT $1::bigint
)
SELECT s.id, s.name, s.kind, COALESCE(s.target, '') AS target, s.platform, s.spec, s.risk -> 'facts' AS facts, s.run_id, r.project_id, r.ref
  FROM stale JOIN stage s ON s.id = stale.id JOIN run r ON r.id = s.run_id
 ORDER BY s.run_id, s.id;
