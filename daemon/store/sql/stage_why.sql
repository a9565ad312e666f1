-- stage_why: why stages are not running yet, computed from the facts.  $1 bigint stage or null, $2 bigint run or null, $3 bigint limit, $4 text project of a confined token or null.
-- @read
SELECT s.id, s.name, s.state, s.run_id, r.number AS run_number, p.name AS project, r.state AS run_state, s.host, s.labels, s.toolchain, s.uses, s.queued_at, s.message, s.gate_why, s.state = 'waiting' AND stage_risk_open(s) AS risk_open, (extract(epoch FROM now() - s.risk_open_since) * 1000)::bigint AS risk_open_ms, array_to_string(s.approvers, ', ') AS approvers,
       GREATEST(0, extract(epoch FROM s.not_before - now()) * 1000)::bigint AS hold_ms,
       (SELECT string_agg(b.name || ' (' || b.state || ')', ', ' ORDER BY b.position) FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id AND b.state <> 'green') AS open_needs,
       (SELECT x.number || ' (run ' || x.id || ')' FROM run x WHERE r.state = 'waiting' AND x.project_id = r.project_id AND x.concurrency_group = r.concurrency_group AND x.state = 'running' LIMIT 1) AS group_holder,
       r.concurrency_group,
       m.agents, m.online, m.kind, m.labelled, m.equipped, m.idle,
       (SELECT count(*) FROM stage q WHERE q.state = 'queued' AND q.host = s.host AND (q.queued_at, q.id) < (s.queued_at, s.id)) AS ahead
  FROM stage s JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
 CROSS JOIN LATERAL (
    SELECT count(*) AS agents, count(*) FILTER (WHERE up) AS online, count(*) FILTER (WHERE up AND kind) AS kind, count(*) FILTER (WHERE up AND kind AND labelled) AS labelled,
           count(*) FILTER (WHERE up AND kind AND labelled AND equipped) AS equipped, count(*) FILTER (WHERE up AND kind AND labelled AND equipped AND busy < slots) AS idle
      FROM (SELECT a.slots, a.state = 'active' AND a.last_seen_at > now() - interval '90 seconds' AS up, s.host = ANY (a.hosts) AS kind, s.labels <@ a.labels AS labelled,
                   (s.toolchain IS NULL OR s.toolchain = ANY (a.toolchains)) AND (s.uses IS NULL OR s.uses = ANY (a.recipes)) AS equipped,
                   (SELECT count(*) FROM stage t WHERE t.agent_id = a.id AND t.state IN ('claimed', 'running', 'cancelling')) AS busy
              FROM agent a WHERE a.state <> 'removed') x) m
 WHERE s.state IN ('waiting', 'gated', 'queued', 'deciding') AND ($1::bigint IS NULL OR s.id = $1::bigint) AND ($2::bigint IS NULL OR s.run_id = $2::bigint) AND ($4::text IS NULL OR p.name = $4::text)
 ORDER BY s.queued_at NULLS LAST, s.id LIMIT $3::bigint;
