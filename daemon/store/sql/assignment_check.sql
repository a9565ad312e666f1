-- assignment_check: ticks a point of the list or takes the tick away.  $1 bigint id, $2 bigint point from 0, $3 boolean done, $4 actor, $5 project he is confined to or null.
-- @write
SELECT assignment_check($1::bigint, $2::bigint, $3::boolean, $4::text, $5::text) AS id;
