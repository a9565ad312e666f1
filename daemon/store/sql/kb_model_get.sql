-- kb_model_get: about the text model of this database's own. No parameters. Returns 0 or 1 row.
-- @read
SELECT octet_length(data)::bigint AS bytes, cases::bigint AS cases, made_at, made_by FROM kb_model WHERE name = 'text';
