-- sweep_prepare: preparations that were tried too often (daemons died over them).  $1 bigint tries allowed.
-- State: run preparing -> invalid.
-- @write
-- @repeatable
UPDATE run SET state = 'invalid', message = 'preparing it failed ' || prepare_tries || ' times without an answer; look at the daemon''s log', ended_at = now(), prepare_until = NULL
 WHERE state = 'preparing' AND prepare_until < now() AND prepare_tries >= $1::bigint
RETURNING id;
