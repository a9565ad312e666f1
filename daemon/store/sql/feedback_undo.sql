-- feedback_undo: a word is taken back; the one before it, or the diagnosis, is in force again.  $1 bigint feedback, $2 who, $3 project of a confined token or null.
-- Returns one row: id, attempt_id, verdict, challenge_id, undone_at, undone_by; no row: there is none that is not undone already.
-- @write
WITH gone AS (
    UPDATE feedback f SET undone_at = now(), undone_by = $2::text FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
     WHERE f.id = $1::bigint AND f.undone_at IS NULL AND a.id = f.attempt_id AND ($3::text IS NULL OR p.name = $3::text)
    RETURNING f.id, f.attempt_id, f.verdict, f.challenge_id, f.undone_at, f.undone_by, r.project_id, s.run_id, s.id AS stage_id
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT project_id, run_id, stage_id, attempt_id, 'feedback', jsonb_build_object('undone', id, 'by', undone_by) FROM gone
    RETURNING pg_notify('ptl_event', '')
)
SELECT id, attempt_id, verdict, challenge_id, undone_at, undone_by FROM gone LEFT JOIN (SELECT count(*) FROM told) AS t ON true;
