-- stage_claim: the oldest queued stages that suit an agent, as jobs.  $1 bigint agent, $2 text[] hosts, $3 text[] labels, $4 text[] toolchains, $5 text[] recipes, $6 bigint at most, $7 bigint lease ms.
-- The fence (attempt number) goes up; every later write of the agent must carry it.  The baseline is the newest report of the same stage in the project's last 20 green runs.
-- The CASE hides its conditions from the planner, which would else expect next to nothing of them, read the whole queue and sort it, instead of walking stage_queue in order until it has enough.
-- State: stage queued -> claimed.
-- @write
WITH picked AS (
    SELECT s.id FROM stage s
     WHERE s.state = 'queued'
       AND CASE WHEN s.not_before <= now() AND s.host = ANY ($2::text[]) AND s.labels <@ $3::text[]
                 AND (s.toolchain IS NULL OR s.toolchain = ANY ($4::text[])) AND (s.uses IS NULL OR s.uses = ANY ($5::text[])) THEN true END
       AND EXISTS (SELECT 1 FROM agent WHERE id = $1::bigint AND state = 'active')
     ORDER BY s.queued_at, s.id LIMIT $6::bigint FOR UPDATE OF s SKIP LOCKED
), claimed AS (
    UPDATE stage s SET state = 'claimed', fence = s.fence + 1, agent_id = $1::bigint, message = NULL, started_at = NULL,
           attempt_id = nextval(pg_get_serial_sequence('attempt', 'id')), lease_until = now() + $7::bigint * interval '1 ms'
      FROM picked WHERE s.id = picked.id
    RETURNING s.*
), tried AS (
    INSERT INTO attempt (id, stage_id, fence, agent_id, agent_name) OVERRIDING SYSTEM VALUE
    SELECT c.attempt_id, c.id, c.fence, $1::bigint, (SELECT name FROM agent WHERE id = $1::bigint) FROM claimed c
)
SELECT c.id AS stage_id, c.attempt_id, r.project_id, r.ref, c.name, c.spec, jsonb_build_object(
           'attempt_id', c.attempt_id, 'fence', c.fence, 'stage_id', c.id, 'run_id', r.id, 'run_number', r.number, 'project', p.name, 'kind', c.kind, 'target', c.target,
           'name', c.name, 'host', c.host, 'commit', r.commit_sha, 'ref', r.ref, 'source', jsonb_build_object('sha256', r.source_sha256, 'size_bytes', r.source_size_bytes),
           'timeout_ms', LEAST(c.timeout_ms, GREATEST(1000, c.total_timeout_ms - (extract(epoch FROM now() - c.first_queued_at) * 1000)::bigint)), 'grace_ms', c.grace_ms, 'lease_ms', $7::bigint,
           'model', (SELECT jsonb_build_object('files', COALESCE(jsonb_agg(jsonb_build_object('path', substr(f.path, 7), 'sha256', f.sha256, 'size_bytes', f.size_bytes, 'exec', f.exec) ORDER BY f.path), '[]'))
                       FROM stage m JOIN artifact f ON f.attempt_id = m.attempt_id WHERE m.id = c.model_stage_id AND m.state = 'green' AND f.path LIKE 'model/%'),
           'golden', (SELECT jsonb_build_object('files', COALESCE(jsonb_agg(jsonb_build_object('path', substr(f.path, 8), 'sha256', f.sha256, 'size_bytes', f.size_bytes, 'exec', f.exec) ORDER BY f.path), '[]'))
                       FROM stage m JOIN artifact f ON f.attempt_id = m.attempt_id WHERE m.id = c.golden_stage_id AND m.state = 'green' AND f.path LIKE 'golden/%'),
           'baseline', (SELECT b.report FROM (SELECT id FROM run WHERE c.kind = 'verify' AND project_id = r.project_id AND id < r.id AND state = 'green' ORDER BY id DESC LIMIT 20) g
                          JOIN stage bs ON bs.run_id = g.id AND bs.name = c.name JOIN attempt b ON b.id = bs.attempt_id
                         WHERE b.ok AND b.report IS NOT NULL ORDER BY g.id DESC LIMIT 1)) AS job
  FROM claimed c JOIN run r ON r.id = c.run_id JOIN project p ON p.id = r.project_id;
