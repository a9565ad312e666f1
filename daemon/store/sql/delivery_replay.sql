-- delivery_replay: the pushes of a delivery once more, as a person's own: each gets a new run.  $1 bigint delivery, $2 text project the caller is confined to or null, $3 text person.
-- Returns one row a push with its run; one row without a push when the delivery told of none (`pushes` 0) or was received before pushes were kept (`pushes` null); no row: no such delivery.
-- @write
WITH d AS (
    SELECT d.id, d.project_id, p.name AS project, d.pushes
      FROM delivery d JOIN project p ON p.id = d.project_id WHERE d.id = $1::bigint AND p.archived_at IS NULL AND ($2::text IS NULL OR p.name = $2::text)
), asked AS (
    SELECT d.id AS delivery, d.project_id, ord, j ->> 'ref' AS ref, j ->> 'before' AS before_sha, j ->> 'after' AS after_sha, j ->> 'why_not' AS why_not
      FROM d, jsonb_array_elements(CASE WHEN jsonb_typeof(d.pushes) = 'array' THEN d.pushes ELSE '[]' END) WITH ORDINALITY AS e (j, ord)
), pushed AS (
    INSERT INTO push (project_id, ref, before_sha, after_sha, source, pusher, delivery, outcome)
    SELECT project_id, ref, before_sha, after_sha, 'manual', $3::text, delivery, why_not FROM asked ORDER BY ord
    RETURNING id, project_id, ref, after_sha, outcome
), ran AS (
    INSERT INTO run (project_id, push_id, ref, commit_sha, trigger, created_by)
    SELECT project_id, id, ref, after_sha, 'manual', $3::text FROM pushed WHERE outcome IS NULL ORDER BY id
    RETURNING id, push_id
)
SELECT d.project, jsonb_array_length(d.pushes) AS pushes, pushed.ref, pushed.outcome, ran.id AS run_id
  FROM d LEFT JOIN pushed ON true LEFT JOIN ran ON ran.push_id = pushed.id ORDER BY pushed.id;
