-- failure_unprinted: failures diagnosed before diagnoses had a fingerprint.  $1 bigint at most.
-- @read
SELECT a.id, a.diagnosis FROM failure f JOIN attempt a ON a.id = f.attempt_id WHERE f.fingerprint IS NULL AND a.diagnosis_state = 'done' AND NOT a.diagnosis ? 'fingerprint' ORDER BY f.attempt_id LIMIT $1::bigint;
