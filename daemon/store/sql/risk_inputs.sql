-- risk_inputs: what the risk of planned stages is weighed with.  $1 bigint project, $2 jsonb [{name, kind, target, platform, spec}], $3 text ref, $4 bigint run (those before it count as before; what pre-flight says of it).
-- One row. Every window is bounded: daemon/risk/risk.h says how long they are and why.
-- @read
WITH cell AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS c (name text, kind text, target text, platform text, spec jsonb)
), kinds AS (
    SELECT DISTINCT kind, platform FROM cell
), reds AS MATERIALIZED (
    SELECT k.kind, k.platform, o.project_id, a.challenge_id FROM kinds k
     CROSS JOIN LATERAL (SELECT project_id, attempt_id FROM risk_outcome o WHERE o.kind = k.kind AND o.platform = k.platform AND NOT o.ok ORDER BY o.id DESC LIMIT 500) o
      JOIN attempt a ON a.id = o.attempt_id WHERE a.challenge_id IS NOT NULL
), fixes AS (
    SELECT o.at, o.streak FROM risk_outcome o WHERE o.ok AND o.streak IS NOT NULL ORDER BY o.id DESC LIMIT 1000
)
SELECT COALESCE((SELECT max(id) FROM risk_outcome WHERE project_id = $1::bigint), 0) AS seen,
       (SELECT jsonb_agg(jsonb_build_object('kind', k.kind, 'platform', k.platform, 'n', w.n, 'red', w.red)) FROM kinds k
         CROSS JOIN LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE NOT ok) AS red
                               FROM (SELECT ok FROM risk_outcome o WHERE o.kind = k.kind AND o.platform = k.platform ORDER BY o.id DESC LIMIT 2000) x) w) AS org,
       (SELECT jsonb_agg(jsonb_build_object('kind', c.kind, 'target', c.target, 'runs', w.runs, 'n', w.n, 'red', w.red, 'last_ok', w.last_ok)) FROM (SELECT DISTINCT kind, COALESCE(target, '') AS target FROM cell) c
         CROSS JOIN LATERAL (SELECT count(*) AS runs, COALESCE(sum(power(0.95, k - 1)), 0) AS n, COALESCE(sum(power(0.95, k - 1)) FILTER (WHERE NOT ok), 0) AS red, bool_or(ok) FILTER (WHERE k = 1) AS last_ok
                               FROM (SELECT ok, row_number() OVER (ORDER BY id DESC) AS k
                                       FROM (SELECT id, ok FROM risk_outcome o WHERE o.project_id = $1::bigint AND o.kind = c.kind AND o.target = c.target ORDER BY o.id DESC LIMIT 100) x) y) w) AS project,
       (SELECT jsonb_build_object(
                   'known_ok', jsonb_build_array(count(*) FILTER (WHERE ok AND bits & 65536 > 0), count(*) FILTER (WHERE ok AND bits & 131072 > 0), count(*) FILTER (WHERE ok AND bits & 262144 > 0), count(*) FILTER (WHERE ok AND bits & 524288 > 0), count(*) FILTER (WHERE ok AND bits & 1048576 > 0), count(*) FILTER (WHERE ok AND bits & 2097152 > 0), count(*) FILTER (WHERE ok AND bits & 4194304 > 0), count(*) FILTER (WHERE ok AND bits & 8388608 > 0), count(*) FILTER (WHERE ok AND bits & 16777216 > 0), count(*) FILTER (WHERE ok AND bits & 33554432 > 0)),
                   'known_red', jsonb_build_array(count(*) FILTER (WHERE NOT ok AND bits & 65536 > 0), count(*) FILTER (WHERE NOT ok AND bits & 131072 > 0), count(*) FILTER (WHERE NOT ok AND bits & 262144 > 0), count(*) FILTER (WHERE NOT ok AND bits & 524288 > 0), count(*) FILTER (WHERE NOT ok AND bits & 1048576 > 0), count(*) FILTER (WHERE NOT ok AND bits & 2097152 > 0), count(*) FILTER (WHERE NOT ok AND bits & 4194304 > 0), count(*) FILTER (WHERE NOT ok AND bits & 8388608 > 0), count(*) FILTER (WHERE NOT ok AND bits & 16777216 > 0), count(*) FILTER (WHERE NOT ok AND bits & 33554432 > 0)),
                   'with_ok', jsonb_build_array(count(*) FILTER (WHERE ok AND bits & 1 > 0), count(*) FILTER (WHERE ok AND bits & 2 > 0), count(*) FILTER (WHERE ok AND bits & 4 > 0), count(*) FILTER (WHERE ok AND bits & 8 > 0), count(*) FILTER (WHERE ok AND bits & 16 > 0), count(*) FILTER (WHERE ok AND bits & 32 > 0), count(*) FILTER (WHERE ok AND bits & 64 > 0), count(*) FILTER (WHERE ok AND bits & 128 > 0), count(*) FILTER (WHERE ok AND bits & 256 > 0), count(*) FILTER (WHERE ok AND bits & 512 > 0)),
                   'with_red', jsonb_build_array(count(*) FILTER (WHERE NOT ok AND bits & 1 > 0), count(*) FILTER (WHERE NOT ok AND bits & 2 > 0), count(*) FILTER (WHERE NOT ok AND bits & 4 > 0), count(*) FILTER (WHERE NOT ok AND bits & 8 > 0), count(*) FILTER (WHERE NOT ok AND bits & 16 > 0), count(*) FILTER (WHERE NOT ok AND bits & 32 > 0), count(*) FILTER (WHERE NOT ok AND bits & 64 > 0), count(*) FILTER (WHERE NOT ok AND bits & 128 > 0), count(*) FILTER (WHERE NOT ok AND bits & 256 > 0), count(*) FILTER (WHERE NOT ok AND bits & 512 > 0)))
          FROM (SELECT ok, bits FROM risk_outcome WHERE bits <> 0 ORDER BY id DESC LIMIT 5000) x) AS factors,
       (SELECT jsonb_agg(jsonb_build_object('kind', kind, 'platform', platform, 'id', challenge_id, 'org', org, 'own', own))
          FROM (SELECT kind, platform, challenge_id, count(*) AS org, count(*) FILTER (WHERE project_id = $1::bigint) AS own FROM reds GROUP BY 1, 2, 3) x) AS challenges,
       (SELECT jsonb_agg(jsonb_build_object('id', challenge_id, 'n', n, 'ln', round(ln::numeric, 4)))
          FROM (SELECT a.challenge_id, count(*) AS n, sum(ln(GREATEST(extract(epoch FROM f.at - red.at) / 3600.0, 0.05))) AS ln
                  FROM fixes f JOIN risk_outcome red ON red.id = f.streak JOIN attempt a ON a.id = red.attempt_id WHERE a.challenge_id IS NOT NULL GROUP BY 1) x) AS hours,
       (SELECT jsonb_agg(jsonb_build_object('id', c.id, 'title', c.title, 'share', CASE WHEN NOT EXISTS (SELECT 1 FROM challenge b WHERE b.parent = c.id) THEN c.share END, 'minutes', c.median_minutes) ORDER BY c.position)
          FROM challenge c WHERE c.retired_at IS NULL AND c.kind <> 'root') AS nodes,
       (SELECT jsonb_agg(jsonb_build_object('name', c.name, 'same', COALESCE(b.spec = c.spec, true), 'same_toolchain', b.id IS NULL OR (b.toolchain IS NOT DISTINCT FROM c.spec ->> 'toolchain' AND b.uses IS NOT DISTINCT FROM c.spec ->> 'uses'), 'last_ok', l.ok))
          FROM cell c
          LEFT JOIN LATERAL (
              SELECT risk_base_run($1::bigint, $3::text, $4::bigint) AS id
          ) r ON true
          LEFT JOIN stage b ON b.run_id = r.id AND b.name = c.name
          LEFT JOIN stage_line l ON l.project_id = $1::bigint AND l.ref = $3::text AND l.name = c.name
         WHERE b.id IS NOT NULL OR l.ok IS NOT NULL) AS before,
       preflight_risk($4::bigint, $1::bigint) AS preflight, (SELECT count(*) FROM preflight f WHERE f.run_id = $4::bigint AND f.state <> 'pending') AS looks;
