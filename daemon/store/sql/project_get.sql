-- project_get: one live project with its sealed secrets.  $1 text name, $2 bigint id (either).
-- @read
SELECT id, name, url, default_branch, credential_kind, credential_user, credential, webhook_secret, poll_interval_s, poll_at, poll_error, polled_at, webhook_secret IS NOT NULL AS has_webhook_secret,
       status_forge, status_url, status_repo, status_token, created_at
  FROM project WHERE archived_at IS NULL AND (name = $1::text OR id = $2::bigint);
