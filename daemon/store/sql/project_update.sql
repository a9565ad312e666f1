-- project_update: what is null stays.  $1 name, $2 url, $3 default branch, $4 credential kind, $5 user, $6 credential, $7 webhook secret, $8 poll seconds,
-- $9 status forge ('' takes it away), $10 status url, $11 status repo, $12 status token.  0 or 1 row.
-- @write
-- @repeatable
UPDATE project SET url = COALESCE($2::text, url), default_branch = COALESCE($3::text, default_branch),
       credential_kind = COALESCE($4::text, credential_kind), credential_user = COALESCE($5::text, credential_user),
       credential = CASE WHEN $4::text = 'none' THEN NULL ELSE COALESCE($6::bytea, credential) END,
       webhook_secret = COALESCE($7::bytea, webhook_secret),
       poll_interval_s = COALESCE($8::bigint, poll_interval_s),
       poll_at = CASE WHEN $8::bigint > 0 THEN now() WHEN $8::bigint = 0 THEN NULL ELSE poll_at END,
       status_forge = NULLIF(COALESCE($9::text, status_forge), ''), status_url = COALESCE($10::text, status_url),
       status_repo = COALESCE($11::text, status_repo), status_token = COALESCE($12::bytea, status_token)
 WHERE name = $1::text AND archived_at IS NULL
RETURNING id, name;
