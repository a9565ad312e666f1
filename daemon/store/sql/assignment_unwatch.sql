-- assignment_unwatch: not to be told any more.  $1 bigint id, $2 actor, $3 project he is confined to or null, $4 the handle of somebody else or null: the actor.
-- @write
WITH me AS (SELECT assignment_watcher($1::bigint, $2::text, $3::text, $4::text) AS id), gone AS (
    DELETE FROM assignment_watch w USING me WHERE w.assignment_id = $1::bigint AND w.person_id = me.id
)
SELECT $1::bigint AS id, false AS watching FROM me;
