-- kb_entry_put: what a node is about, in one's own words.  $1 node, $2 jsonb entry (checked) or null: as shipped again, $3 actor, $4 bigint the revision it was made from (null: any).
-- Returns one row: id, revision bigint, changed boolean; no row: there is no such node. PT409: it is at another revision.
-- @write
-- @repeatable
WITH found AS (
    SELECT id, entry, entry_shipped, entry_revision, COALESCE($2::jsonb, entry_shipped) AS wanted FROM challenge WHERE id = $1::text AND retired_at IS NULL FOR UPDATE
), put AS (
    UPDATE challenge c SET entry = f.wanted, entry_own = f.wanted IS DISTINCT FROM f.entry_shipped, entry_revision = f.entry_revision + 1, entry_by = $3::text, entry_at = now()
      FROM found f WHERE c.id = f.id AND CASE WHEN f.wanted IS NOT DISTINCT FROM f.entry THEN false ELSE kb_expect('entry ' || f.id, $4::bigint, f.entry_revision) END
    RETURNING c.entry_revision
)
SELECT id, COALESCE((SELECT entry_revision FROM put), entry_revision)::bigint AS revision, EXISTS (SELECT 1 FROM put) AS changed FROM found;
