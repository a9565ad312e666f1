-- run_plan_sources: whose model/ and golden/ each stage gets: a verify its convert's model (else the export's), a convert the export's, both the export's golden set.  $1 bigint run.
-- @write
-- @repeatable
UPDATE stage s SET
       golden_stage_id = (SELECT e.id FROM stage e WHERE e.run_id = s.run_id AND e.kind = 'export' ORDER BY e.position LIMIT 1),
       model_stage_id = COALESCE(
           CASE WHEN s.kind = 'verify' THEN (SELECT c.id FROM stage c WHERE c.run_id = s.run_id AND c.kind = 'convert' AND c.target = s.target LIMIT 1) END,
           (SELECT e.id FROM stage e WHERE e.run_id = s.run_id AND e.kind = 'export' ORDER BY e.position LIMIT 1))
 WHERE s.run_id = $1::bigint AND s.kind <> 'export';
