-- assignment_change: $1 bigint id, $2 action take | reassign | hand_back | done | due, $3 handle or null, $4 actor, $5 due or null, $6 comment or null, $7 boolean the actor manages, $8 project he is confined to or null.
-- @write
SELECT assignment_change($1::bigint, $2::text, $3::text, $4::text, $5::text::timestamptz, $6::text, $7::boolean, $8::text) AS id;
