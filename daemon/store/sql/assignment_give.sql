-- assignment_give: a stage or a failed attempt to a person, or to whoever asks (person null: take it).  $1 bigint stage or null, $2 bigint attempt or null, $3 handle or null, $4 actor, $5 due (RFC 3339) or null,
-- $6 comment or null, $7 project the actor is confined to or null.  PT404, PT409 (naming who has it), PT422.
-- @write
SELECT assignment_give($1::bigint, $2::bigint, $3::text, $4::text, $5::text::timestamptz, $6::text, $7::text) AS id;
