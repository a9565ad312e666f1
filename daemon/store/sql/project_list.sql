-- project_list: $1 text after name, $2 bigint limit, $3 text confined to this project or null.
-- @read
SELECT p.id, p.name, p.url, p.default_branch, p.poll_interval_s, p.poll_error, p.status_forge, p.created_at,
       p.webhook_secret IS NOT NULL AS has_webhook_secret,
       r.id AS last_run_id, r.number AS last_run_number, r.state AS last_run_state
  FROM project p
  LEFT JOIN LATERAL (SELECT id, number, state FROM run WHERE project_id = p.id ORDER BY id DESC LIMIT 1) r ON true
 WHERE p.archived_at IS NULL AND p.name > $1::text AND ($3::text IS NULL OR p.name = $3::text)
 ORDER BY p.name LIMIT $2::bigint;
