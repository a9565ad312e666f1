-- log_words_store: the words of a failure's log.  $1 bigint attempt, $2 text words, $3 bigint how many, $4 boolean there were more.  Nothing when the log has gone meanwhile.
-- @write bulk
-- @repeatable
WITH a AS MATERIALIZED (
    SELECT id FROM attempt WHERE id = $1::bigint AND log_pruned_at IS NULL FOR SHARE
), put AS (
    INSERT INTO failure_log (attempt_id, at, words, n, cut)
    SELECT f.attempt_id, f.at, strip(to_tsvector('english', failure_words($2::text))) || array_to_tsvector(failure_tags(f.terms)), $3::bigint, $4::boolean FROM a JOIN failure f ON f.attempt_id = a.id
    ON CONFLICT (attempt_id) DO UPDATE SET at = excluded.at, words = excluded.words, n = excluded.n, cut = excluded.cut
)
DELETE FROM failure_log_due WHERE attempt_id = $1::bigint;
