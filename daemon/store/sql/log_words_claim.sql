-- log_words_claim: failures whose log is to be read for its words, newest first.  $1 bigint at most.  What has no log any more, or never had one, leaves the list.
-- One that nobody could read ten times is given up: it stays out of this search and in every other.
-- Returns rows: attempt_id, log_bytes; 0: a look costs nothing.
-- @write
WITH due AS (
    SELECT d.attempt_id, d.tries, a.log_bytes > 0 AND a.log_pruned_at IS NULL AND d.tries < 10 AS worth, a.log_bytes FROM failure_log_due d JOIN attempt a ON a.id = d.attempt_id
     WHERE (d.until IS NULL OR d.until < now()) AND a.diagnosis_state <> 'pending' ORDER BY d.attempt_id DESC LIMIT $1::bigint FOR UPDATE OF d SKIP LOCKED
), gone AS (
    DELETE FROM failure_log_due d USING due WHERE d.attempt_id = due.attempt_id AND NOT due.worth
)
UPDATE failure_log_due d SET until = now() + interval '2 minutes', tries = d.tries + 1 FROM due WHERE d.attempt_id = due.attempt_id AND due.worth RETURNING d.attempt_id, due.log_bytes;
