-- matrix: models by targets by stages, each with its newest runs.  $1 text after project, $2 bigint projects, $3 text project or null, $4 text ref or null, $5 bigint runs a project.
-- A row is one cell: a stage of a model on a target; `series` its attempts, oldest first. used: share of what is allowed, by the limit that is nearest (above 1: outside): of the error at the worst element, or of a limit that
-- the verify had by name; of cosine and agreement the distance from 1, and nothing where no distance is allowed.
-- @read
WITH p AS (
    SELECT id, name FROM project
     WHERE archived_at IS NULL AND name > $1::text AND ($3::text IS NULL OR name = $3::text)
       AND EXISTS (SELECT 1 FROM run WHERE project_id = project.id AND model IS NOT NULL AND ($4::text IS NULL OR ref = $4::text))
     ORDER BY name LIMIT $2::bigint
), r AS (
    SELECT p.name AS project, x.* FROM p CROSS JOIN LATERAL (
        SELECT id, number, model, ref, commit_sha, created_at FROM run
         WHERE project_id = p.id AND model IS NOT NULL AND ($4::text IS NULL OR ref = $4::text) ORDER BY id DESC LIMIT $5::bigint) x
)
SELECT r.project, r.model, s.target, s.host, s.kind, s.name AS stage, min(s.position) AS position, (SELECT count(*) FROM p) AS projects,
       jsonb_agg(jsonb_build_object('run_id', r.id, 'number', r.number, 'at', r.created_at, 'commit', left(r.commit_sha, 12), 'stage_id', s.id, 'attempt_id', s.attempt_id, 'state', s.state,
           'duration_ms', a.duration_ms, 'max_abs_error', o.worst, 'used', o.used, 'top1_agreement', o.top1, 'latency_p95_ms', a.report #> '{metrics,latency_p95_ms}',
           'bytes', COALESCE(a.report #> '{metrics,artifact_bytes}', to_jsonb(f.bytes)), 'indicative', a.report #> '{runtime,indicative_latency}', 'challenge_id', a.challenge_id) ORDER BY r.id) AS series
  FROM r JOIN stage s ON s.run_id = r.id LEFT JOIN attempt a ON a.id = s.attempt_id
  LEFT JOIN LATERAL (
    SELECT max((e ->> 'max_abs_error')::float8) FILTER (WHERE jsonb_typeof(e -> 'max_abs_error') = 'number') AS worst,
           max(GREATEST(CASE WHEN jsonb_typeof(e -> 'max_abs_error') = 'number' AND jsonb_typeof(e #> '{worst,limit}') = 'number' THEN (e ->> 'max_abs_error')::float8 / NULLIF((e #>> '{worst,limit}')::float8, 0) END, l.used)) AS used,
           min((e ->> 'top1_agreement')::float8) FILTER (WHERE jsonb_typeof(e -> 'top1_agreement') = 'number') AS top1
      FROM jsonb_array_elements(CASE WHEN jsonb_typeof(a.report -> 'outputs') = 'array' THEN a.report -> 'outputs' ELSE '[]' END) e
     CROSS JOIN LATERAL (
        SELECT max(CASE WHEN n.name IN ('max_abs_error', 'max_rel_error', 'mean_abs_error') THEN n.got / NULLIF(n.value, 0) ELSE (1 - n.got) / NULLIF(1 - n.value, 0) END) AS used
          FROM (SELECT x ->> 'name' AS name, (x ->> 'value')::float8 AS value, (e ->> (x ->> 'name'))::float8 AS got
                  FROM jsonb_array_elements(CASE WHEN jsonb_typeof(a.report -> 'limits') = 'array' THEN a.report -> 'limits' ELSE '[]' END) x
                 WHERE x ->> 'name' IN ('max_abs_error', 'max_rel_error', 'mean_abs_error', 'cosine', 'top1_agreement') AND jsonb_typeof(x -> 'value') = 'number' AND jsonb_typeof(e -> (x ->> 'name')) = 'number') n) l) o ON true
  LEFT JOIN LATERAL (SELECT sum(size_bytes)::bigint AS bytes FROM artifact WHERE attempt_id = a.id AND path LIKE 'model/%' AND path <> 'model/signature.json') f ON true
 GROUP BY r.project, r.model, s.target, s.host, s.kind, s.name
 ORDER BY r.project, r.model, position;
