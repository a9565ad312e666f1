-- kb_node: one node with its entry, links and the indicators that speak for it.  $1 id, $2 text only this project's failures (name) or null: all.
-- Returns 0 or 1 row.
-- @read
SELECT c.id, c.taxonomy, c.kind, c.parent, c.title,
       (SELECT string_agg(a.title, ' › ' ORDER BY length(a.id)) FROM challenge a WHERE a.id = c.id OR starts_with(c.id, a.id || '/')) AS path,
       c.share, c.questions, c.unanswered, c.median_minutes, c.origin, c.retired_at IS NOT NULL AS retired, c.entry, c.entry_own, c.entry_revision, c.entry_by, c.entry_at,
       c.data -> 'transient' AS transient, c.data ->> 'about' AS about,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('from', l.from_id, 'to', l.to_id, 'why', l.why) ORDER BY l.from_id, l.to_id), '[]') FROM challenge_link l WHERE c.id IN (l.from_id, l.to_id)) AS links,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('id', i.id, 'summary', i.data ->> 'summary', 'role', i.data ->> 'role') ORDER BY i.id), '[]') FROM indicator i
         WHERE i.retired_at IS NULL AND EXISTS (SELECT 1 FROM jsonb_each(i.data -> 'weights') AS w WHERE w.value ? c.id)) AS indicators,
       COALESCE((SELECT sum(n.failures) FROM challenge_count n JOIN project p ON p.id = n.project_id
                  WHERE (n.challenge_id = c.id OR starts_with(n.challenge_id, c.id || '/')) AND ($2::text IS NULL OR p.name = $2::text)), 0)::bigint AS failures,
       COALESCE((SELECT sum(GREATEST(x.failures, 1)) FROM resolution x JOIN project p ON p.id = x.project_id
                  WHERE x.state <> 'rejected' AND (x.challenge_id = c.id OR starts_with(x.challenge_id, c.id || '/')) AND ($2::text IS NULL OR p.name = $2::text)), 0)::bigint AS resolved,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('id', k.id, 'title', k.title, 'url', k.url, 'answered', k.answered) ORDER BY k.answered DESC, k.id), '[]')
          FROM (SELECT * FROM known_case k WHERE k.challenge_id = c.id ORDER BY k.answered DESC, k.id LIMIT 10) AS k) AS cases
  FROM challenge c WHERE c.id = $1::text;
