-- project_create: $1 name, $2 url, $3 default branch or null, $4 credential kind or null, $5 user, $6 sealed credential, $7 sealed webhook secret, $8 bigint poll seconds.
-- @write
INSERT INTO project (name, url, default_branch, credential_kind, credential_user, credential, webhook_secret, poll_interval_s, poll_at)
VALUES ($1::text, $2::text, COALESCE($3::text, 'main'), COALESCE($4::text, 'none'), $5::text, $6::bytea, $7::bytea, $8::bigint,
        CASE WHEN $8::bigint > 0 THEN now() END)
RETURNING id, name;
