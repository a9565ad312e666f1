-- project_archive: keeps runs and logs, frees the name.  $1 name.  0 or 1 row.
-- @write
-- @repeatable
UPDATE project SET archived_at = now(), name = left(name, 40) || '-archived-' || id, poll_at = NULL WHERE name = $1::text AND archived_at IS NULL RETURNING id;
