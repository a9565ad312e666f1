-- assignment_watch: to be told about an assignment.  $1 bigint id, $2 actor, $3 project he is confined to or null.
-- @write
WITH g AS (SELECT (assignment_locked($1::bigint, $3::text)).id), me AS (SELECT person_of_token($2::text) AS id), put AS (
    INSERT INTO assignment_watch SELECT g.id, me.id FROM g, me ON CONFLICT DO NOTHING
)
SELECT g.id, true AS watching FROM g;
