-- project_poll_claim: projects whose poll is due; the next one is set at once (interval with 20 % jitter), so several daemons share the work.  $1 bigint limit.
-- @write
WITH due AS (
    SELECT id FROM project WHERE poll_at <= now() AND poll_interval_s > 0 AND archived_at IS NULL ORDER BY poll_at LIMIT $1::bigint FOR UPDATE SKIP LOCKED
)
UPDATE project p SET poll_at = now() + p.poll_interval_s * (0.9 + 0.2 * random()) * interval '1 second' FROM due WHERE p.id = due.id
RETURNING p.id, p.name;
