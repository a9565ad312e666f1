-- kb_challenge_get: one node with its entry, links and the indicators that speak for it.  $1 id. Returns 0 or 1 row.
-- @read
SELECT c.id, c.taxonomy, c.kind, c.parent, c.title, c.share, c.questions, c.unanswered, c.median_minutes, c.data, c.entry, c.origin,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('from', l.from_id, 'to', l.to_id, 'why', l.why) ORDER BY l.from_id, l.to_id), '[]') FROM challenge_link l WHERE c.id IN (l.from_id, l.to_id)) AS links,
       (SELECT COALESCE(jsonb_agg(i.id ORDER BY i.id), '[]') FROM indicator i
         WHERE i.retired_at IS NULL AND EXISTS (SELECT 1 FROM jsonb_each(i.data -> 'weights') AS w WHERE w.value ? c.id)) AS indicators
  FROM challenge c WHERE c.id = $1::text;
