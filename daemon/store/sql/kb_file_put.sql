-- kb_file_put: a file as it came.  $1 path, $2 text or null: it is what ships again, $3 actor.
-- @write
-- @repeatable
WITH gone AS (
    DELETE FROM kb_file WHERE path = $1::text AND $2::text IS NULL
)
INSERT INTO kb_file (path, text, updated_by) SELECT $1::text, $2::text, $3::text WHERE $2::text IS NOT NULL
ON CONFLICT (path) DO UPDATE SET text = excluded.text, updated_at = now(), updated_by = excluded.updated_by;
