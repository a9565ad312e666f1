-- kb_tree: all nodes, parents before children, with what speaks for them and how often this installation's failures were of them and of what is below.
-- $1 text only this project's failures (name) or null: all, $2 text taxonomy or null: all, $3 text words to look for or null, $4 boolean retired ones too.
-- @read
WITH RECURSIVE failed AS MATERIALIZED (
    SELECT n.challenge_id, sum(n.failures)::bigint AS failures FROM challenge_count n JOIN project p ON p.id = n.project_id WHERE $1::text IS NULL OR p.name = $1::text GROUP BY 1
), solved AS MATERIALIZED (
    SELECT x.challenge_id, sum(GREATEST(x.failures, 1))::bigint AS resolved FROM resolution x JOIN project p ON p.id = x.project_id
     WHERE x.state <> 'rejected' AND x.challenge_id IS NOT NULL AND ($1::text IS NULL OR p.name = $1::text) GROUP BY 1
), spoken AS MATERIALIZED (
    SELECT n.node, count(*)::bigint AS indicators FROM indicator i CROSS JOIN LATERAL unnest(i.nodes) AS n (node) WHERE i.retired_at IS NULL GROUP BY 1
), trail AS (
    SELECT id, title AS path FROM challenge WHERE parent IS NULL
    UNION ALL
    SELECT n.id, t.path || ' › ' || n.title FROM trail t JOIN challenge n ON n.parent = t.id
)
SELECT c.id, c.taxonomy, c.kind, c.parent, c.title,
       t.path,
       c.share, c.questions, c.unanswered, c.median_minutes, c.origin, c.retired_at IS NOT NULL AS retired, c.entry IS NOT NULL AS has_entry, c.entry_own,
       COALESCE(s.indicators, 0) AS indicators,
       COALESCE((SELECT sum(f.failures) FROM failed f WHERE f.challenge_id = c.id OR starts_with(f.challenge_id, c.id || '/')), 0)::bigint AS failures,
       COALESCE((SELECT sum(x.resolved) FROM solved x WHERE x.challenge_id = c.id OR starts_with(x.challenge_id, c.id || '/')), 0)::bigint AS resolved
  FROM challenge c LEFT JOIN trail t ON t.id = c.id LEFT JOIN spoken s ON s.node = c.id
 WHERE ($2::text IS NULL OR c.taxonomy = $2::text) AND ($4::boolean OR c.retired_at IS NULL)
   AND ($3::text IS NULL OR position(lower($3::text) IN lower(c.id || ' ' || c.title || ' ' || COALESCE(c.entry::text, ''))) > 0)
 ORDER BY c.position;
