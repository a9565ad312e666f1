-- feedback_add: a person's word on a diagnosis.  $1 bigint attempt, $2 verdict, $3 challenge or null, $4 comment or null, $5 who, $6 project of a confined token or null.
-- Confirm takes the diagnosis's own first. Returns one row: attempt_id and why it was refused ('absent', 'not_failed', 'not_diagnosed', 'no_challenge'), or the word as stored with why null.
-- @write
WITH a AS (
    SELECT a.id, a.ok, a.ended_at, CASE WHEN a.diagnosis ->> 'state' = 'diagnosed' THEN a.diagnosis #>> '{challenges,0,id}' END AS said
      FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE a.id = $1::bigint AND ($6::text IS NULL OR p.name = $6::text)
), checked AS (
    SELECT CASE WHEN a.id IS NULL THEN 'absent' WHEN a.ok IS NOT FALSE THEN 'not_failed' WHEN $2::text = 'confirm' AND a.said IS NULL THEN 'not_diagnosed'
                WHEN $2::text = 'correct' AND NOT EXISTS (SELECT 1 FROM challenge c WHERE c.id = $3::text AND c.retired_at IS NULL AND c.kind <> 'root') THEN 'no_challenge' END AS why, a.said
      FROM (SELECT 1) AS one LEFT JOIN a ON true
), put AS (
    INSERT INTO feedback (attempt_id, verdict, challenge_id, said_id, comment, by_name)
    SELECT $1::bigint, $2::text, CASE $2::text WHEN 'confirm' THEN said WHEN 'correct' THEN $3::text END, said, $4::text, $5::text FROM checked WHERE why IS NULL
    RETURNING *
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT r.project_id, s.run_id, s.id, a.id, 'feedback', jsonb_build_object('verdict', put.verdict, 'challenge', put.challenge_id, 'by', put.by_name)
      FROM put JOIN attempt a ON a.id = put.attempt_id JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id
    RETURNING pg_notify('ptl_event', '')
)
SELECT checked.why, $1::bigint AS attempt_id, put.id, put.verdict, put.challenge_id, put.said_id, put.comment, put.by_name, put.at FROM checked LEFT JOIN put ON true LEFT JOIN (SELECT count(*) FROM told) AS t ON true;
