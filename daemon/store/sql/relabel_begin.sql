-- relabel_begin: history is to be labelled anew.  $1 text hash of the knowledge, $2 who, $3 boolean forced: also when this knowledge was the last to be applied, and also what was diagnosed with it.
-- Returns one row: the job as kb_apply has it; the one under way when nothing new is wanted.
-- @write bulk
WITH last AS (
    SELECT * FROM kb_apply ORDER BY id DESC LIMIT 1
), wanted AS (
    SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM last WHERE kb = $1::text AND (NOT $3::boolean OR (ended_at IS NULL AND forced)))
), old AS (
    UPDATE kb_apply SET ended_at = now(), superseded = true, lease_until = NULL WHERE ended_at IS NULL AND EXISTS (SELECT 1 FROM wanted)
), new AS (
    INSERT INTO kb_apply (kb, forced, asked_by, total, at_id)
    SELECT $1::text, $3::boolean, $2::text, count(*), COALESCE(max(a.id), 0) + 1 FROM wanted LEFT JOIN attempt a ON a.diagnosis_state IN ('done', 'failed') AND a.log_pruned_at IS NULL HAVING EXISTS (SELECT 1 FROM wanted)
    RETURNING *
)
SELECT id, kb, forced, asked_by, started_at, ended_at, superseded, total, done, changed, kept FROM new
UNION ALL SELECT id, kb, forced, asked_by, started_at, ended_at, superseded, total, done, changed, kept FROM last WHERE NOT EXISTS (SELECT 1 FROM wanted);
