-- agent_seen: the agent is here with this inventory.  $1 bigint agent, $2 text[] hosts, $3 text[] labels, $4 text[] toolchains, $5 text[] recipes, $6 bigint slots, $7 jsonb inventory.
-- @write
-- @repeatable
UPDATE agent SET last_seen_at = now(), hosts = $2::text[], labels = $3::text[], toolchains = $4::text[], recipes = $5::text[], slots = $6::bigint, inventory = $7::jsonb
 WHERE id = $1::bigint
RETURNING state;
