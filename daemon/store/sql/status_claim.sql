-- status_claim: commit statuses to post: the oldest open one of each sha and context (never two at once), one daemon each.  $1 bigint limit.
-- @write
WITH first AS (
    SELECT DISTINCT ON (project_id, sha, context) id, not_before, sending_until FROM status_outbox WHERE sent_at IS NULL AND gave_up_at IS NULL ORDER BY project_id, sha, context, id
), due AS (
    SELECT o.id FROM status_outbox o JOIN first f ON f.id = o.id WHERE o.not_before <= now() AND (o.sending_until IS NULL OR o.sending_until < now()) ORDER BY o.id LIMIT $1::bigint FOR UPDATE OF o SKIP LOCKED
)
UPDATE status_outbox o SET sending_until = now() + interval '60 seconds', tries = o.tries + 1
  FROM due, project p, run r WHERE o.id = due.id AND p.id = o.project_id AND r.id = o.run_id
RETURNING o.id, o.project_id, o.run_id, o.sha, o.context, o.state, o.description, o.tries, r.ref, r.number, p.name AS project, p.status_forge, p.status_url, p.status_repo, p.status_token;
