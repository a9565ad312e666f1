-- kb_model_get: about the text model of this database's own.  $1 boolean with the model itself.  Returns 0 or 1 row: bytes, cases, made_at, made_by, sha256, data bytea or null.
-- @read
SELECT octet_length(data)::bigint AS bytes, cases::bigint AS cases, made_at, made_by, encode(sha256(data), 'hex') AS sha256, CASE WHEN $1::boolean THEN data END AS data
  FROM kb_model WHERE name = 'text';
