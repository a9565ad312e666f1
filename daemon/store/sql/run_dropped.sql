-- run_dropped: why a run that somebody was told of is not there.  $1 bigint run.  0 rows: there never was one.
-- @read
SELECT p.name AS project, u.ref, u.outcome FROM push u JOIN project p ON p.id = u.project_id WHERE u.run_dropped = $1::bigint;
