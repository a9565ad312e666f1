-- push_add: a push told by a hook, a poll or a person, and its run.  $1 bigint project, $2 ref, $3 before or null, $4 after or null, $5 source, $6 pusher, $7 boolean forced, $8 outcome when there is to be no run.
-- Returns push_id and run_id; no row: told before.
-- @write
WITH pushed AS (
    INSERT INTO push (project_id, ref, before_sha, after_sha, source, pusher, forced, outcome)
    VALUES ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text, COALESCE($7::boolean, false), $8::text)
    ON CONFLICT DO NOTHING RETURNING id, outcome
), ran AS (
    INSERT INTO run (project_id, push_id, ref, commit_sha, trigger, created_by)
    SELECT $1::bigint, id, $2::text, $4::text, $5::text, COALESCE($6::text, $5::text) FROM pushed WHERE outcome IS NULL
    RETURNING id, push_id
)
SELECT pushed.id AS push_id, pushed.outcome, ran.id AS run_id FROM pushed LEFT JOIN ran ON true;
