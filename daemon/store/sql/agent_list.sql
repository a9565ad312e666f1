-- agent_list: agents with what they run.  $1 bigint after id, $2 bigint limit.
-- @read
SELECT a.id, a.name, a.hosts, a.labels, a.toolchains, a.recipes, a.slots, a.inventory, a.state, a.enrolled_at, a.last_seen_at,
       (a.last_seen_at > now() - interval '90 seconds') AS online,
       (SELECT count(*) FROM stage s WHERE s.agent_id = a.id AND s.state IN ('claimed', 'running', 'cancelling')) AS running
  FROM agent a WHERE a.id > $1::bigint AND a.state <> 'removed' ORDER BY a.id LIMIT $2::bigint;
