-- run_plan: the run has a plan: its stages, their needs.  $1 bigint run, $2 sha, $3 message, $4 author, $5 bigint commit time (s), $6 model, $7 pipeline text, $8 jsonb plan,
-- $9 source sha256, $10 bigint source size, $11 group or null, $12 queue, $13 boolean cancel in progress,
-- $14 jsonb by position: what the risk of each stage is, and what it does to its gate (daemon/core/risk.c).
-- 0 rows: no longer preparing (cancelled).
-- State: run preparing -> waiting.
-- @write
WITH numbered AS (
    UPDATE project p SET next_run_number = next_run_number + 1 FROM run r WHERE r.id = $1::bigint AND r.state = 'preparing' AND p.id = r.project_id
    RETURNING p.next_run_number - 1 AS number
), planned AS (
    UPDATE run SET state = 'waiting', number = numbered.number, commit_sha = $2::text, commit_message = $3::text, commit_author = $4::text,
           commit_at = to_timestamp($5::bigint), model = $6::text, pipeline_text = $7::text, plan = $8::jsonb, source_sha256 = $9::text,
           source_size_bytes = $10::bigint, concurrency_group = lower($11::text), concurrency_queue = COALESCE($12::text, 'all'),
           cancel_in_progress = COALESCE($13::boolean, false), prepare_until = NULL, message = NULL
      FROM numbered WHERE id = $1::bigint AND state = 'preparing'
    RETURNING id, push_id
), noted AS (
    UPDATE push SET outcome = 'run' FROM planned WHERE push.id = planned.push_id
), put AS (
    INSERT INTO stage (run_id, position, name, kind, target, host, uses, toolchain, labels, spec, manual, allow_failure, retry_max, timeout_ms, queue_timeout_ms, total_timeout_ms, grace_ms,
                       platform, risk, risk_p, risk_hours, risk_cost, risk_bits, risk_seen, gate_why, approvers)
    SELECT planned.id, ord, s ->> 'name', s ->> 'kind', s ->> 'target', s ->> 'host', s ->> 'uses', s ->> 'toolchain',
           ARRAY(SELECT jsonb_array_elements_text(COALESCE(s -> 'labels', '[]'))), s,
           COALESCE((s ->> 'manual')::boolean, false) OR w ->> 'gate_why' IS NOT NULL,
           COALESCE((s ->> 'allow_failure')::boolean, false), COALESCE((s #>> '{retry,max}')::integer, 0),
           (s ->> 'timeout_ms')::bigint, (s ->> 'queue_timeout_ms')::bigint, (s ->> 'total_timeout_ms')::bigint, COALESCE((s ->> 'grace_ms')::bigint, 10000),
           w ->> 'platform', w -> 'risk', (w #>> '{risk,p}')::double precision, (w #>> '{risk,hours}')::double precision, (w #>> '{risk,cost}')::double precision, COALESCE((w #>> '{risk,bits}')::integer, 0),
           COALESCE((w ->> 'seen')::bigint, 0), w ->> 'gate_why', ARRAY(SELECT jsonb_array_elements_text(COALESCE(s -> 'approvers', '[]')))
      FROM planned, jsonb_array_elements($8::jsonb -> 'stages') WITH ORDINALITY AS e (s, ord) CROSS JOIN LATERAL (SELECT $14::jsonb -> (ord::integer - 1) AS w) w
    RETURNING id, name, kind, target, spec
), needs AS (
    INSERT INTO stage_need (stage_id, needs_id)
    SELECT a.id, b.id FROM put a, jsonb_array_elements_text(COALESCE(a.spec -> 'needs', '[]')) n (name) JOIN put b ON b.name = n.name
)
SELECT planned.id, numbered.number, (SELECT count(*) FROM put) AS stages FROM planned, numbered;
