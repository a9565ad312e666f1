-- kb_state: all that files say, as daemon/kb/files.h reads it. No parameters. Returns one row: state jsonb.
-- @read
SELECT jsonb_build_object(
    'indicators', (SELECT COALESCE(jsonb_object_agg(id, jsonb_build_object('data', data, 'revision', revision, 'retired', retired_at IS NOT NULL, 'by_person', COALESCE(retired_by <> 'portoland', false))), '{}') FROM indicator),
    'entries', (SELECT COALESCE(jsonb_object_agg(id, jsonb_build_object('entry', entry, 'shipped', entry_shipped, 'revision', entry_revision)), '{}') FROM challenge WHERE retired_at IS NULL),
    'files', (SELECT COALESCE(jsonb_object_agg(path, text), '{}') FROM kb_file)) AS state;
