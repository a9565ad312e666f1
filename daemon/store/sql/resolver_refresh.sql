-- resolver_refresh: what happened since goes into who resolved what.  $1 bigint challenges at most.
-- @write
-- @repeatable
SELECT resolvers_refresh($1::bigint) AS challenges;
