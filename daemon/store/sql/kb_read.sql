-- kb_read: the knowledge in force, as the engine reads it. No parameters. Returns one row: version bigint (0: nothing loaded), doc jsonb (daemon/kb/data.h),
-- model bytea or null (a text model of this database's own).
-- @read
SELECT COALESCE(v.id, 0) AS version,
       jsonb_build_object('version', 1, 'hash', COALESCE(v.files_hash, ''), 'params', COALESCE(v.params, '{}'),
           'nodes', (SELECT COALESCE(jsonb_agg(data ORDER BY position), '[]') FROM challenge WHERE retired_at IS NULL),
           'links', (SELECT COALESCE(jsonb_agg(jsonb_build_object('from', from_id, 'to', to_id, 'why', why) ORDER BY from_id, to_id), '[]') FROM challenge_link),
           'entries', (SELECT COALESCE(jsonb_agg(entry ORDER BY position), '[]') FROM challenge WHERE retired_at IS NULL AND entry IS NOT NULL),
           'indicators', (SELECT COALESCE(jsonb_agg(data ORDER BY id), '[]') FROM indicator WHERE retired_at IS NULL)) AS doc,
       (SELECT data FROM kb_model WHERE name = 'text') AS model
  FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM kb_version ORDER BY id DESC LIMIT 1) AS v ON true;
