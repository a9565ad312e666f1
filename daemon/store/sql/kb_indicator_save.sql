-- kb_indicator_save: one's own indicator, added or edited.  $1 id (local/…), $2 jsonb data (checked), $3 actor, $4 bigint the revision it was made from (0: new; null: any).
-- Returns one row: id, revision bigint, changed boolean; the same data again changes nothing. PT409: it is at another revision.
-- @write
-- @repeatable
WITH found AS (
    SELECT data, revision FROM indicator WHERE id = $1::text FOR UPDATE
), now AS (
    SELECT COALESCE((SELECT revision FROM found), 0)::bigint AS revision, COALESCE((SELECT data - 'file' = $2::jsonb - 'file' FROM found), false) AS same
), put AS (
    INSERT INTO indicator (id, data, origin, updated_by)
    SELECT $1::text, $2::jsonb, 'local', $3::text FROM now WHERE CASE WHEN now.same THEN false ELSE kb_expect('indicator ' || $1::text, $4::bigint, now.revision) END
    ON CONFLICT (id) DO UPDATE SET revision = indicator.revision + 1, updated_at = now(), updated_by = excluded.updated_by,
       data = CASE WHEN excluded.data ? 'file' OR NOT indicator.data ? 'file' THEN excluded.data ELSE excluded.data || jsonb_build_object('file', indicator.data -> 'file') END
     WHERE kb_expect('indicator ' || $1::text, $4::bigint, indicator.revision)
    RETURNING revision
)
SELECT $1::text AS id, COALESCE((SELECT revision FROM put), now.revision)::bigint AS revision, EXISTS (SELECT 1 FROM put) AS changed FROM now;
