-- resolution_of: what turned failures like this one green before.  $1 bigint attempt, $2 project name or null (only its resolutions), $3 bigint at most.
-- First what resolved this very failure, then the same template, then the same challenge in the project, then the same challenge anywhere; in each of these confirmed ones first, then the newest. Rejected ones are left out.
-- @read
WITH me AS MATERIALIZED (
    SELECT f.project_id, f.template_id, f.challenge_id, f.resolution_id, (SELECT id FROM project WHERE name = $2::text) AS only, $2::text IS NULL AS everywhere FROM failure f WHERE f.attempt_id = $1::bigint
), near AS (                                         -- numbers only: rows hold diffs. Confined before cut, or what is frequent elsewhere hides what there is here
    SELECT me.resolution_id AS id FROM me WHERE me.resolution_id IS NOT NULL
    UNION SELECT n.id FROM me, LATERAL (SELECT id FROM resolution WHERE me.everywhere AND template_id = me.template_id AND state <> 'rejected' ORDER BY id DESC LIMIT 100) n
    UNION SELECT n.id FROM me, LATERAL (SELECT id FROM resolution WHERE me.everywhere AND challenge_id = me.challenge_id AND state <> 'rejected' ORDER BY id DESC LIMIT 200) n
    UNION SELECT n.id FROM me, LATERAL (SELECT id FROM resolution WHERE me.only IS NOT NULL AND project_id = me.only AND template_id = me.template_id AND state <> 'rejected' ORDER BY id DESC LIMIT 100) n
    UNION SELECT n.id FROM me, LATERAL (SELECT id FROM resolution WHERE me.only IS NOT NULL AND project_id = me.only AND challenge_id = me.challenge_id AND state <> 'rejected' ORDER BY id DESC LIMIT 200) n
), found AS (
    SELECT r.id, CASE WHEN r.id = me.resolution_id THEN 0 WHEN r.template_id = me.template_id THEN 1 WHEN r.project_id = me.project_id THEN 2 ELSE 3 END AS near
      FROM me, near JOIN resolution r ON r.id = near.id WHERE r.state <> 'rejected' AND (me.everywhere OR r.project_id = me.only)
)
SELECT r.id, p.name AS project, r.stage, r.kind, r.target, r.ref, r.challenge_id, challenge_path(r.challenge_id) AS challenge_path, r.red_attempt_id, r.green_attempt_id, r.red_commit, r.green_commit, r.first_red_at, r.green_at, r.minutes, r.failures,
       r.change, r.summary, r.commits, r.files, r.diff, r.cuts, r.environment, r.agents, r.state, r.note, r.decided_by, r.decided_at,
       CASE found.near WHEN 0 THEN 'it resolved this failure' WHEN 1 THEN 'the same line, but for names and numbers' WHEN 2 THEN 'the same challenge in this project' ELSE 'the same challenge in another project' END AS why
  FROM found JOIN resolution r ON r.id = found.id JOIN project p ON p.id = r.project_id ORDER BY found.near, r.state <> 'confirmed', r.id DESC LIMIT $3::bigint;
