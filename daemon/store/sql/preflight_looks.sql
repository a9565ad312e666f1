-- preflight_looks: what was looked at for a run, and what it said about memory beside what the stage then took.  $1 bigint run.
-- @read
SELECT p.id, p.state, p.message, (SELECT s.name FROM stage s WHERE s.id = p.stage_id) AS stage, p.models, p.cuts, p.done_at,
       (SELECT COALESCE(jsonb_agg(m || jsonb_build_object('measured_bytes', (SELECT COALESCE((a.report #>> '{metrics,peak_memory_bytes}')::numeric, a.peak_memory_bytes)
                                                                               FROM stage s JOIN attempt a ON a.id = s.attempt_id WHERE s.run_id = p.run_id AND s.name = m ->> 'stage'))), '[]')
          FROM jsonb_array_elements(p.memory) AS m) AS memory
  FROM preflight p WHERE p.run_id = $1::bigint ORDER BY p.id LIMIT 600;
