-- kb_challenge_list: all nodes, parents before children, with how often this installation's failures were diagnosed so.  $1 bigint project or null: all.
-- @read
SELECT c.id, c.taxonomy, c.kind, c.parent, c.title, c.share, c.questions, c.unanswered, c.median_minutes, c.origin, c.entry IS NOT NULL AS has_entry,
       COALESCE((SELECT sum(n.failures) FROM challenge_count n WHERE n.challenge_id = c.id AND ($1::bigint IS NULL OR n.project_id = $1::bigint)), 0)::bigint AS failures
  FROM challenge c WHERE c.retired_at IS NULL ORDER BY c.position;
