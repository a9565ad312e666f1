-- event_prune: events that nobody resumes from any more, a bounded piece at a time.  $1 bigint age in ms, $2 bigint at most.  Returns pruned.
-- @write bulk
-- @repeatable
WITH gone AS (
    DELETE FROM event WHERE (txid, id) IN (SELECT txid, id FROM event WHERE at < now() - $1::bigint * interval '1 ms' ORDER BY txid, id LIMIT $2::bigint) RETURNING 1
)
SELECT count(*) AS pruned FROM gone;
