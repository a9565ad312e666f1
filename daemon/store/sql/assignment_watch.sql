-- assignment_watch: somebody is to be told about an assignment.  $1 bigint id, $2 actor, $3 project he is confined to or null, $4 the handle of somebody else or null: the actor.
-- @write
WITH me AS (SELECT assignment_watcher($1::bigint, $2::text, $3::text, $4::text) AS id), put AS (
    INSERT INTO assignment_watch SELECT $1::bigint, me.id FROM me ON CONFLICT DO NOTHING
)
SELECT $1::bigint AS id, true AS watching FROM me;
