-- risk_past: outcomes in their order, as text to play back: "kind cell bits ok;" each.  $1 project name or null: all.  The newest 50000.
-- @read
WITH newest AS (
    SELECT o.* FROM risk_outcome o WHERE $1::text IS NULL OR o.project_id = (SELECT id FROM project WHERE name = $1::text) ORDER BY o.id DESC LIMIT 50001
), past AS (
    SELECT n.id, n.at, n.ok, n.bits, dense_rank() OVER (ORDER BY n.project_id, n.kind, n.target) - 1 AS cell,
           CASE n.kind WHEN 'export' THEN 0 WHEN 'convert' THEN 3 ELSE 6 END + CASE n.platform WHEN 'server' THEN 0 WHEN 'mobile' THEN 1 ELSE 2 END AS kind
      FROM (SELECT * FROM newest ORDER BY id DESC LIMIT 50000) n
)
SELECT string_agg(kind || ' ' || cell || ' ' || bits || ' ' || CASE WHEN ok THEN 1 ELSE 0 END || ';', '' ORDER BY id) AS past, count(*) AS n, COALESCE(max(cell) + 1, 0) AS cells,
       (SELECT count(*) FROM newest) > 50000 AS cut, $1::text AS project, to_char(min(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since, to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS until,
       (SELECT jsonb_agg(jsonb_build_object('id', c.id, 'share', CASE WHEN NOT EXISTS (SELECT 1 FROM challenge b WHERE b.parent = c.id) THEN c.share END)) FROM challenge c WHERE c.retired_at IS NULL AND c.kind <> 'root') AS nodes
  FROM past;
