-- run_plan_sources: whose model/ and golden/ each stage gets: the plan names the model's, the golden set is the export's.  $1 bigint run.
-- @write
-- @repeatable
UPDATE stage s SET
       golden_stage_id = (SELECT e.id FROM stage e WHERE e.run_id = s.run_id AND e.kind = 'export' ORDER BY e.position LIMIT 1),
       model_stage_id = (SELECT m.id FROM stage m WHERE m.run_id = s.run_id AND m.name = s.spec ->> 'model_from')
 WHERE s.run_id = $1::bigint AND s.kind <> 'export';
