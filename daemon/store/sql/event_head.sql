-- event_head: the cursor behind everything that has happened.
-- @read
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS txid, 0::bigint AS id;
