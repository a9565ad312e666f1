-- attempt_job: the job of an attempt as it was, for `portolan reproduce`.  $1 bigint attempt.  Secrets are never part of it.
-- @read
SELECT c.spec, jsonb_build_object('attempt_id', a.id, 'fence', a.fence, 'stage_id', c.id, 'run_id', r.id, 'run_number', r.number, 'project', p.name, 'kind', c.kind, 'target', c.target,
           'name', c.name, 'host', c.host, 'commit', r.commit_sha, 'ref', r.ref, 'source', jsonb_build_object('sha256', r.source_sha256, 'size_bytes', r.source_size_bytes),
           'timeout_ms', c.timeout_ms, 'grace_ms', c.grace_ms,
           'model', (SELECT jsonb_build_object('files', COALESCE(jsonb_agg(jsonb_build_object('path', substr(f.path, 7), 'sha256', f.sha256, 'size_bytes', f.size_bytes, 'exec', f.exec) ORDER BY f.path), '[]'))
                       FROM stage m JOIN artifact f ON f.attempt_id = m.attempt_id WHERE m.id = c.model_stage_id AND f.path LIKE 'model/%'),
           'golden', (SELECT jsonb_build_object('files', COALESCE(jsonb_agg(jsonb_build_object('path', substr(f.path, 8), 'sha256', f.sha256, 'size_bytes', f.size_bytes, 'exec', f.exec) ORDER BY f.path), '[]'))
                       FROM stage m JOIN artifact f ON f.attempt_id = m.attempt_id WHERE m.id = c.golden_stage_id AND f.path LIKE 'golden/%')) AS job
  FROM attempt a JOIN stage c ON c.id = a.stage_id JOIN run r ON r.id = c.run_id JOIN project p ON p.id = r.project_id WHERE a.id = $1::bigint;
