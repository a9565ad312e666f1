-- metrics: counts for /metrics, bounded label sets only.
-- @read
SELECT 'stages_' || state AS name, '' AS label, count(*)::double precision AS value FROM stage WHERE state IN ('waiting', 'gated', 'queued', 'claimed', 'running', 'deciding', 'cancelling') GROUP BY state
UNION ALL SELECT 'runs_' || state, '', count(*) FROM run WHERE state IN ('preparing', 'waiting', 'running') GROUP BY state
UNION ALL SELECT 'agents_online', h, count(*) FROM agent, unnest(hosts) h WHERE state = 'active' AND last_seen_at > now() - interval '90 seconds' GROUP BY h
UNION ALL SELECT 'queue_oldest_seconds', host, extract(epoch FROM now() - min(queued_at)) FROM stage WHERE state = 'queued' GROUP BY host
UNION ALL SELECT 'status_outbox_open', '', count(*) FROM status_outbox WHERE sent_at IS NULL AND gave_up_at IS NULL;
