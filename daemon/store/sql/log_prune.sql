-- log_prune: lets the oldest logs go, of runs that have ended; what the diagnosis quoted stays.  $1 bigint: those of attempts that ended so many ms ago (0: none by age), $2 bigint: bytes that may stay in all (0: any number),
-- $3 bigint attempts at most, $4 bigint bytes at most at once.  One daemon at a time.  Returns pruned, bytes.
-- @write bulk
-- @repeatable
WITH mine AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7015505) AS ok
), excess AS MATERIALIZED (
    SELECT CASE WHEN $2::bigint > 0 THEN (SELECT COALESCE(sum(log_bytes), 0) FROM attempt WHERE log_bytes > 0 AND log_pruned_at IS NULL AND ended_at IS NOT NULL) - $2::bigint ELSE 0 END AS bytes FROM mine WHERE ok
), oldest AS (
    SELECT a.id, a.log_bytes, a.ended_at, sum(a.log_bytes) OVER (ORDER BY a.ended_at, a.id) - a.log_bytes AS before
      FROM (SELECT t.id, t.log_bytes, t.ended_at FROM attempt t JOIN stage s ON s.id = t.stage_id JOIN run r ON r.id = s.run_id
             WHERE t.log_bytes > 0 AND t.log_pruned_at IS NULL AND t.ended_at IS NOT NULL AND t.diagnosis_state <> 'pending'
               AND r.state IN ('green', 'red', 'cancelled', 'invalid') AND (SELECT ok FROM mine)
             ORDER BY t.ended_at, t.id LIMIT 2000) a -- those of runs that never end hinder nobody
), due AS (
    SELECT o.id FROM oldest o, excess WHERE (($1::bigint > 0 AND o.ended_at < now() - $1::bigint * interval '1 ms') OR o.before < excess.bytes) AND o.before < $4::bigint ORDER BY o.ended_at, o.id LIMIT $3::bigint
), marked AS (
    UPDATE attempt a SET log_pruned_at = now() FROM due WHERE a.id = due.id AND a.log_pruned_at IS NULL RETURNING a.id, a.log_bytes
), gone AS (
    DELETE FROM log_chunk c USING marked WHERE c.attempt_id = marked.id
), words AS (                                        -- what is found in a log can be shown
    DELETE FROM failure_log w USING marked WHERE w.attempt_id = marked.id
)
SELECT count(*) AS pruned, COALESCE(sum(log_bytes), 0)::bigint AS bytes FROM marked;
