-- run_get: one run.  $1 bigint id.
-- @read
SELECT r.id, r.project_id, p.name AS project, r.number, r.ref, r.commit_sha, r.commit_message, r.commit_author, r.commit_at, r.state, r.message, r.trigger, r.created_by,
       r.model, r.pipeline_text, r.source_sha256, r.source_size_bytes, r.concurrency_group, r.created_at, r.started_at, r.ended_at
  FROM run r JOIN project p ON p.id = r.project_id WHERE r.id = $1::bigint;
