-- preflight_claim: sources and artifacts that nobody has looked at yet, with what the rules need.  $1 bigint limit, $2 bigint lease ms.
-- A row tried three times is given up: state failed, and no work comes of it.
-- @write
WITH due AS (
    SELECT id FROM preflight WHERE state = 'pending' AND (until IS NULL OR until < now()) ORDER BY id LIMIT $1::bigint FOR UPDATE SKIP LOCKED
)
UPDATE preflight f SET until = now() + $2::bigint * interval '1 ms', tries = f.tries + 1, state = CASE WHEN f.tries >= 3 THEN 'failed' ELSE 'pending' END,
       message = CASE WHEN f.tries >= 3 THEN 'given up after three tries: each daemon that took it ended over it' END
  FROM due, run r WHERE f.id = due.id AND r.id = f.run_id
RETURNING f.id, f.state, f.run_id, r.plan, r.source_sha256, (SELECT s.name FROM stage s WHERE s.id = f.stage_id) AS stage,
          (SELECT COALESCE(jsonb_agg(jsonb_build_object('path', a.path, 'sha256', a.sha256, 'size_bytes', a.size_bytes) ORDER BY a.path), '[]')
             FROM (SELECT path, sha256, size_bytes FROM artifact WHERE attempt_id = f.attempt_id ORDER BY path LIMIT 20000) a) AS artifacts,
          (SELECT COALESCE(jsonb_agg(jsonb_build_object('hosts', a.hosts, 'memory_bytes', a.inventory -> 'memory_bytes', 'toolchains', a.inventory -> 'toolchains')), '[]')
             FROM (SELECT hosts, inventory FROM agent WHERE state = 'active' ORDER BY last_seen_at DESC NULLS LAST LIMIT 500) a) AS agents;
