-- stage_rules: the guard's edges, for the test that compares them with core's table.
-- @read
SELECT 'stage' AS what, from_state, to_state FROM stage_rule UNION ALL SELECT 'run', from_state, to_state FROM run_rule ORDER BY 1, 2, 3;
