-- failure_facets: exact counts of the facts that classes hold, what is not folded yet included.  $1 jsonb filters (of classes only), $2 boolean resolved or null, $3 bigint at most values of a facet.
-- Returns rows facet, value, count; facet 'total' once. As in a search, letters' case is no difference.
-- What is not folded is looked up by its class, row for row: joined to the classes, a planner that expects few of them compares every one with every class.
-- @read
WITH b AS MATERIALIZED (
    SELECT (SELECT COALESCE((SELECT id FROM project WHERE name = $1::jsonb ->> 'project'), -1) WHERE $1::jsonb ? 'project') AS project, lower($1::jsonb ->> 'challenge') AS challenge, lower($1::jsonb ->> 'challenge') || '/' AS below,
           (SELECT array_agg(id) FROM challenge WHERE $1::jsonb ? 'taxonomy' AND lower(taxonomy) = lower($1::jsonb ->> 'taxonomy')) AS taxonomy, $1::jsonb ? 'taxonomy' AS by_taxonomy,
           lower($1::jsonb ->> 'platform') AS platform, lower($1::jsonb ->> 'target') AS target, lower($1::jsonb ->> 'stage') AS stage, lower($1::jsonb ->> 'kind') AS kind, $1::jsonb - 'project' = '{}' AS every
), form AS MATERIALIZED (
    SELECT f.id FROM failure_form f, b
     WHERE (b.challenge IS NULL OR lower(f.challenge_id) = CASE WHEN b.challenge = 'none' THEN '' ELSE b.challenge END OR starts_with(lower(f.challenge_id), b.below))
       AND (NOT b.by_taxonomy OR f.challenge_id = ANY (b.taxonomy)) AND (b.platform IS NULL OR lower(f.platform) = b.platform) AND (b.target IS NULL OR lower(f.target) = b.target)
       AND (b.stage IS NULL OR lower(f.stage) = b.stage) AND (b.kind IS NULL OR lower(f.kind) = b.kind)
), c AS (
    SELECT c.form_id, c.project_id, sum((CASE WHEN $2::boolean IS NULL THEN c.failures WHEN $2::boolean THEN c.resolved ELSE c.failures - c.resolved END)::integer) AS n
      FROM failure_class c WHERE ((SELECT project FROM b) IS NULL OR c.project_id = (SELECT project FROM b)) AND ((SELECT every FROM b) OR c.form_id IN (SELECT id FROM form)) GROUP BY GROUPING SETS ((c.form_id), (c.project_id))
    UNION ALL
    SELECT c.form_id, c.project_id, sum(d.n)
      FROM (SELECT class_id, sum(CASE WHEN $2::boolean IS NULL OR $2::boolean = (bucket > 0) THEN n ELSE 0 END) AS n FROM failure_delta GROUP BY class_id OFFSET 0) d,
           LATERAL (SELECT form_id, project_id FROM failure_class WHERE id = d.class_id OFFSET 0) c
     WHERE ((SELECT project FROM b) IS NULL OR c.project_id = (SELECT project FROM b)) AND ((SELECT every FROM b) OR c.form_id IN (SELECT id FROM form)) GROUP BY GROUPING SETS ((c.form_id), (c.project_id))
), k AS (
    SELECT 65 + 2 * grouping(kind, target, platform, tool, challenge_id) AS by, NULL::bigint AS project_id, COALESCE(kind, target, platform, tool, challenge_id) AS name, sum(n)::bigint AS n
      FROM c JOIN failure_form f ON f.id + 0 = c.form_id GROUP BY GROUPING SETS ((kind), (target), (platform), (tool), (challenge_id), ())
    UNION ALL SELECT 63, project_id, NULL, sum(n)::bigint FROM c WHERE project_id IS NOT NULL GROUP BY project_id
), lists AS (
    SELECT array_agg(by) AS by, array_agg(project_id) AS projects, array_agg(name) AS names, array_agg(n) AS counts FROM k
)
SELECT f.facet, f.value, f.count FROM lists l, LATERAL failure_facets_of(l.by, l.projects, l.names, l.counts, $3::bigint) AS f ORDER BY f.facet, f.place;
