-- resolution_done: a green attempt is looked at to the end; or, with $2 true, is put off for a while.  $1 bigint green attempt, $2 boolean later.
-- @write
-- @repeatable
WITH later AS (
    UPDATE resolution_due SET until = now() + interval '5 seconds', tries = GREATEST(tries - 1, 0) WHERE green_attempt_id = $1::bigint AND $2::boolean
)
DELETE FROM resolution_due WHERE green_attempt_id = $1::bigint AND NOT $2::boolean;
