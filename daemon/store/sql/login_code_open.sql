-- login_code_open: a command asks to be let in.  $1 device hash, $2 short code's hash, $3 what it says it is, $4 its address, $5 bigint lifetime in ms, $6 bigint ms between two questions, $7 bigint most open codes, $8 bigint most of one address.
-- Returns 1 row; id null: so many are open already.
-- @write
SELECT login_code_open($1::text, $2::text, $3::text, $4::text, $5::bigint, $6::bigint::integer, $7::bigint::integer, $8::bigint::integer) AS id;
