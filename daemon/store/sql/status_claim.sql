-- status_claim: commit statuses to post: the oldest open one of each sha and context (never two at once), one daemon each.  $1 bigint limit.
-- With each: newer_id, a later one that makes it pointless (posted already; or still open and of the same run: null if none), and what was
-- posted last for this sha and context. What makes a row open is asked of the locked row again: another daemon may have settled it since.
-- @write
WITH first AS (
    SELECT DISTINCT ON (project_id, sha, context) id, not_before, sending_until FROM status_outbox WHERE sent_at IS NULL AND gave_up_at IS NULL ORDER BY project_id, sha, context, id
), due AS (
    SELECT o.id FROM status_outbox o JOIN first f ON f.id = o.id WHERE o.sent_at IS NULL AND o.gave_up_at IS NULL AND o.not_before <= now() AND (o.sending_until IS NULL OR o.sending_until < now()) ORDER BY o.id LIMIT $1::bigint FOR UPDATE OF o SKIP LOCKED
)
UPDATE status_outbox o SET sending_until = now() + interval '60 seconds', tries = o.tries + 1
  FROM due JOIN status_outbox was ON was.id = due.id
  LEFT JOIN LATERAL (
      SELECT l.run_id, l.state, l.description FROM status_outbox l
       WHERE l.project_id = was.project_id AND l.sha = was.sha AND l.context = was.context AND l.id < was.id AND l.sent_at IS NOT NULL ORDER BY l.id DESC LIMIT 1
  ) last ON true
  LEFT JOIN LATERAL (
      SELECT max(n.id) AS id FROM status_outbox n
       WHERE n.project_id = was.project_id AND n.sha = was.sha AND n.context = was.context AND n.id > was.id
         AND (n.sent_at IS NOT NULL OR (n.gave_up_at IS NULL AND n.run_id = was.run_id))
  ) newer ON true, project p, run r
 WHERE o.id = due.id AND p.id = o.project_id AND r.id = o.run_id
RETURNING o.id, o.project_id, o.run_id, o.sha, o.context, o.state, o.description, o.tries, r.ref, r.number, p.name AS project, p.status_forge, p.status_url, p.status_repo, p.status_token,
          newer.id AS newer_id, last.run_id AS last_run_id, last.state AS last_state, last.description AS last_description;
