-- agent_enrol: use up a one-time token, make (or take over by name) the agent, give it its own token.
-- $1 enrol hash, $2 name, $3 agent token hash, $4 text[] hosts, $5 text[] labels, $6 text[] toolchains, $7 text[] recipes, $8 bigint slots, $9 jsonb inventory.
-- The agent's token keeps the host kinds of the one-time token: what it may serve, whatever it says later.
-- 0 rows: the one-time token is unknown, expired, used, or not for these hosts; or the name is that of an agent of other kinds, which it may not take over.
-- @write
WITH used AS (
    UPDATE token SET used_at = now(), revoked_at = now()
     WHERE hash = $1::text AND kind = 'enrol' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
       AND (hosts = '{}' OR ($4::text[] <@ hosts AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.name = $2::text AND a.state <> 'removed' AND NOT a.hosts <@ token.hosts)))
    RETURNING hosts, created_by
), made AS (
    INSERT INTO agent (name, hosts, labels, toolchains, recipes, slots, inventory, last_seen_at)
    SELECT $2::text, $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint, $9::jsonb, now() FROM used
    ON CONFLICT (name) WHERE state <> 'removed'
    DO UPDATE SET hosts = EXCLUDED.hosts, labels = EXCLUDED.labels, toolchains = EXCLUDED.toolchains, recipes = EXCLUDED.recipes,
                  slots = EXCLUDED.slots, inventory = EXCLUDED.inventory, last_seen_at = now(), state = 'active'
    RETURNING id, name
), old AS (
    UPDATE token t SET revoked_at = now() FROM made WHERE t.agent_id = made.id AND t.revoked_at IS NULL
)
INSERT INTO token (hash, kind, name, agent_id, hosts, created_by)
SELECT $3::text, 'agent', made.name, made.id, used.hosts, used.created_by FROM made, used
RETURNING agent_id;
