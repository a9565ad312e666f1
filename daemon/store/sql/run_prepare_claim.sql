-- run_prepare_claim: runs to fetch and plan, one daemon each, taken over when it went away.  $1 bigint limit, $2 bigint lease in ms.
-- @write
WITH due AS (
    SELECT id FROM run WHERE state = 'preparing' AND (prepare_until IS NULL OR prepare_until < now()) ORDER BY id LIMIT $1::bigint FOR UPDATE SKIP LOCKED
)
UPDATE run r SET prepare_until = now() + $2::bigint * interval '1 ms', prepare_tries = r.prepare_tries + 1
  FROM due, project p, run q LEFT JOIN push u ON u.id = q.push_id
 WHERE r.id = due.id AND q.id = r.id AND p.id = r.project_id
RETURNING r.id, r.project_id, p.name AS project, p.url, p.default_branch, p.credential_kind, p.credential_user, p.credential,
          r.ref, r.commit_sha, r.trigger, r.created_by, r.prepare_tries, u.before_sha, r.push_id,
          (SELECT b.commit_sha FROM run b WHERE b.id = risk_base_run(r.project_id, r.ref, r.id)) AS base_sha;
