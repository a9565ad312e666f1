-- stage_decide: what the diagnosis means for trying again.  $1 bigint attempt, or null: all whose diagnosis is there or whose time to wait for it is over.
-- deterministic: never. transient: after a back-off of 2 s doubled each time, at most 5 min, by a factor of 0.5 to 1.5, as often as the policy allows. unclear, and no diagnosis in time: once.
-- Only an indicator, or how it ended, is sure enough to decide: where nothing but the words of the log speak for the answer, it is unclear.
-- The policy's `when` must name transient or unclear, or the way the attempt ended. Time saved: the attempt's duration times the retries it had left; less than a second is not worth a word.
-- State: stage deciding -> queued, red.
-- @write
-- @repeatable
WITH held AS (
    SELECT s.id, s.run_id, s.spec #> '{retry,when}' AS policy, s.retries, s.retry_max, s.unclear_retries, a.id AS attempt_id, a.end_reason, a.duration_ms, a.diagnosis_state = 'pending' AS late, a.diagnosis_state = 'done' AND a.diagnosis ->> 'state' <> 'unclear' AS guessed,
           CASE WHEN a.diagnosis_state = 'done' AND (a.diagnosis ->> 'state' = 'unclear' OR a.diagnosis #> '{challenges,0,indicators,0}' IS NOT NULL)
                THEN CASE a.diagnosis ->> 'transient' WHEN 'true' THEN 'transient' WHEN 'false' THEN 'deterministic' ELSE 'unclear' END ELSE 'unclear' END AS verdict,
           COALESCE((SELECT c.title FROM challenge c WHERE c.id = a.challenge_id), a.diagnosis ->> 'summary') AS cause
      FROM stage s JOIN attempt a ON a.id = s.attempt_id
     WHERE s.state = 'deciding' AND ($1::bigint IS NULL OR s.attempt_id = $1::bigint) AND (a.diagnosis_state <> 'pending' OR s.decide_by < now()) ORDER BY s.id LIMIT 200 FOR UPDATE OF s SKIP LOCKED
), judged AS (
    SELECT h.*, h.retry_max - h.retries AS left_over, h.verdict <> 'deterministic' AND h.retries < h.retry_max AND h.policy ?| ARRAY[h.verdict, h.end_reason] AND (h.verdict = 'transient' OR h.unclear_retries = 0) AS again,
           (LEAST(300000, 2000 * 2 ^ LEAST(h.retries, 12)) * (0.5 + random()))::bigint AS delay_ms
      FROM held h
), decided AS (
    SELECT j.*, jsonb_build_object('retry', j.again, 'verdict', j.verdict, 'retries_left', j.left_over, 'at', now(), 'delay_ms', CASE WHEN j.again THEN j.delay_ms END,
               'saved_ms', CASE WHEN j.verdict = 'deterministic' THEN COALESCE(j.duration_ms, 0) * j.left_over END,
               'why', CASE
                   WHEN j.verdict = 'deterministic' THEN 'not tried again: the same would happen' || COALESCE(' (' || left(j.cause, 200) || ')', '') ||
                        CASE WHEN COALESCE(j.duration_ms, 0) * j.left_over < 1000 THEN ''
                             WHEN j.duration_ms * j.left_over < 60000 THEN '; about ' || round(j.duration_ms * j.left_over / 1000.0) || ' s saved'
                             ELSE '; about ' || round(j.duration_ms * j.left_over / 60000.0) || ' min saved' END
                   WHEN j.verdict = 'transient' AND j.again THEN 'tried again: it may pass' || COALESCE(' (' || left(j.cause, 200) || ')', '') || ', retry ' || j.retries + 1 || ' of ' || j.retry_max
                   WHEN j.verdict = 'transient' THEN 'not tried again: it may pass, but its retry policy names neither transient nor ' || j.end_reason
                   WHEN j.again THEN 'tried once more: ' || CASE WHEN j.late THEN 'no diagnosis came in time' WHEN j.guessed THEN 'no indicator speaks for the diagnosis' ELSE 'the diagnosis is unclear' END
                   WHEN j.unclear_retries > 0 THEN 'not tried again: unclear, and tried once more already'
                   ELSE 'not tried again: ' || CASE WHEN j.late THEN 'no diagnosis came in time' WHEN j.guessed THEN 'no indicator speaks for the diagnosis, so it does not decide' ELSE 'the diagnosis is unclear' END || ', and its retry policy names neither unclear nor ' || j.end_reason END) AS retry
      FROM judged j
), kept AS (
    UPDATE attempt a SET retry = d.retry FROM decided d WHERE a.id = d.attempt_id
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data) SELECT r.project_id, d.run_id, d.id, d.attempt_id, 'retry', d.retry FROM decided d JOIN run r ON r.id = d.run_id
)
UPDATE stage s SET state = CASE WHEN d.again THEN 'queued' ELSE 'red' END, decide_by = NULL, retries = s.retries + d.again::int, unclear_retries = s.unclear_retries + (d.again AND d.verdict = 'unclear')::int,
       ended_at = CASE WHEN NOT d.again THEN now() END, queued_at = CASE WHEN d.again THEN now() ELSE s.queued_at END,
       not_before = CASE WHEN d.again THEN now() + d.delay_ms * interval '1 ms' ELSE s.not_before END
  FROM decided d WHERE s.id = d.id
RETURNING s.run_id, s.id, s.name, s.state, d.attempt_id, d.verdict, d.again, COALESCE((d.retry ->> 'saved_ms')::bigint, 0) AS saved_ms, d.retry ->> 'why' AS why;
