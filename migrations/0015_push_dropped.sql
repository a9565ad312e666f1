-- A run that its pipeline file did not ask for goes away; whoever was told its number can still be told why.
ALTER TABLE push ADD COLUMN run_dropped bigint; -- the run that the push had until its pipeline file was read
CREATE INDEX push_run_dropped ON push (run_dropped) WHERE run_dropped IS NOT NULL;
