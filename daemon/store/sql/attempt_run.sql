-- attempt_run: the run and project of an attempt.  $1 bigint attempt.
-- @read
SELECT s.run_id, r.project_id, p.name AS project, s.id AS stage_id FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE a.id = $1::bigint;
