-- assignment_unwatch: not to be told any more.  $1 bigint id, $2 actor, $3 project he is confined to or null.
-- @write
WITH g AS (SELECT (assignment_locked($1::bigint, $3::text)).id), gone AS (
    DELETE FROM assignment_watch w USING g WHERE w.assignment_id = g.id AND w.person_id = person_of_token_found($2::text)
)
SELECT g.id, false AS watching FROM g;
