-- kb_apply_get: the newest time that history was, or is being, labelled anew. No parameters. Returns 0 or 1 row.
-- @read
SELECT id, kb, forced, asked_by, started_at, ended_at, superseded, total, done, changed, kept FROM kb_apply ORDER BY id DESC LIMIT 1;
