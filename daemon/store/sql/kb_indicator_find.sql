-- kb_indicator_find: indicators by id.  $1 text words to look for or null, $2 text a node they speak for or null, $3 text area or null, $4 boolean retired ones too,
-- $5 text after this id, $6 bigint limit.
-- @read
SELECT i.id, i.data ->> 'summary' AS summary, i.data ->> 'pattern' AS pattern, i.data ->> 'role' AS role, (i.data ->> 'specificity')::float8 AS specificity, i.data -> 'transient' AS transient,
       i.data -> 'scope' AS scope, i.origin, i.revision, i.updated_at, i.updated_by, i.retired_at IS NOT NULL AS retired, i.retired_by,
       (SELECT COALESCE(jsonb_agg(DISTINCT n.node), '[]') FROM jsonb_each(i.data -> 'weights') AS w, jsonb_object_keys(w.value) AS n (node)) AS challenges
  FROM indicator i
 WHERE i.id > COALESCE($5::text, '') AND ($3::text IS NULL OR starts_with(i.id, $3::text || '/')) AND ($4::boolean OR i.retired_at IS NULL)
   AND ($1::text IS NULL OR position(lower($1::text) IN lower(concat_ws(' ', i.id, i.data ->> 'summary', i.data ->> 'pattern', i.data -> 'remedy' ->> 'text'))) > 0)
   AND ($2::text IS NULL OR EXISTS (SELECT 1 FROM jsonb_each(i.data -> 'weights') AS w, jsonb_object_keys(w.value) AS n (node) WHERE n.node = $2::text OR starts_with(n.node, $2::text || '/')))
 ORDER BY i.id LIMIT $6::bigint;
