-- delivery_add: a webhook delivery; its pushes and runs in the same statement, so that a repeated delivery has no second effect.
-- $1 bigint project, $2 forge, $3 delivery id, $4 event, $5 outcome when there is no push, $6 jsonb pushes [{"ref","before","after","pusher","forced","message","why_not"}].
-- Returns duplicate, and the pushes with their runs. A push with why_not gets no run.
-- @write
WITH d AS (
    INSERT INTO delivery (project_id, forge, delivery_id, event, outcome, pushes) VALUES ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::jsonb)
    ON CONFLICT DO NOTHING RETURNING id
), asked AS (
    SELECT ord, j ->> 'ref' AS ref, j ->> 'before' AS before_sha, j ->> 'after' AS after_sha, j ->> 'pusher' AS pusher,
           COALESCE((j ->> 'forced')::boolean, false) AS forced, j ->> 'message' AS message, j ->> 'why_not' AS why_not
      FROM d, jsonb_array_elements($6::jsonb) WITH ORDINALITY AS e (j, ord)
), pushed AS (
    INSERT INTO push (project_id, ref, before_sha, after_sha, source, pusher, forced, delivery, outcome)
    SELECT $1::bigint, ref, before_sha, after_sha, 'webhook', pusher, forced, d.id, why_not FROM asked, d ORDER BY ord
    ON CONFLICT DO NOTHING
    RETURNING id, ref, after_sha, pusher, outcome
), ran AS (
    INSERT INTO run (project_id, push_id, ref, commit_sha, trigger, created_by)
    SELECT $1::bigint, id, ref, after_sha, 'webhook', COALESCE(pusher, $2::text) FROM pushed WHERE outcome IS NULL ORDER BY id
    RETURNING id, push_id
)
SELECT NOT EXISTS (SELECT 1 FROM d) AS duplicate, pushed.id AS push_id, pushed.ref, pushed.after_sha, pushed.outcome, ran.id AS run_id
  FROM (SELECT 1) one LEFT JOIN pushed ON true LEFT JOIN ran ON ran.push_id = pushed.id
 ORDER BY pushed.id;
