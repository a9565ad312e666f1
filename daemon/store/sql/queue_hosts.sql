-- queue_hosts: host kinds with something to claim now: wakes long polls for stages that were held back by a back-off.
-- @read
SELECT DISTINCT host FROM stage WHERE state = 'queued' AND not_before <= now();
