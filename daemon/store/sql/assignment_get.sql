-- assignment_get: one assignment with its history, comments, list and watchers.  $1 bigint id, $2 project the asking token is confined to or null, $3 the asking token's name.
-- @read
SELECT g.id, pr.name AS project, g.run_id, r.number AS run_number, g.stage_id, g.stage_name AS stage, g.attempt_id, g.ref, s.kind, s.target, s.platform AS host, s.state AS stage_state, w.name AS person, w.display_name, g.state,
       g.challenge_id, c.title AS challenge, g.due_at, g.created_by, g.created_at, g.ended_at, g.checklist, s.risk_p AS p, s.risk_hours AS hours, s.risk_cost AS cost, a.diagnosis ->> 'summary' AS diagnosis,
       COALESCE((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', e.id, 'at', e.at, 'actor', e.actor, 'action', e.action, 'person', x.name, 'before', b.name, 'text', e.text)) ORDER BY e.id)
                   FROM (SELECT * FROM assignment_event WHERE assignment_id = g.id ORDER BY id DESC LIMIT 500) e LEFT JOIN person x ON x.id = e.person_id LEFT JOIN person b ON b.id = e.before_id), '[]') AS history,
       COALESCE((SELECT jsonb_agg(jsonb_build_object('id', e.id, 'at', e.at, 'actor', e.actor, 'text', e.text) ORDER BY e.id)
                   FROM (SELECT * FROM assignment_event WHERE assignment_id = g.id AND action = 'comment' ORDER BY id DESC LIMIT 200) e), '[]') AS comments,
       COALESCE((SELECT jsonb_agg(x.name ORDER BY x.name) FROM assignment_watch v JOIN person x ON x.id = v.person_id WHERE v.assignment_id = g.id), '[]') AS watchers,
       EXISTS (SELECT 1 FROM assignment_watch v WHERE v.assignment_id = g.id AND v.person_id = person_of_token_found($3::text)) AS watching
  FROM assignment g JOIN project pr ON pr.id = g.project_id JOIN run r ON r.id = g.run_id JOIN stage s ON s.id = g.stage_id
  LEFT JOIN person w ON w.id = g.person_id LEFT JOIN challenge c ON c.id = g.challenge_id LEFT JOIN attempt a ON a.id = g.attempt_id
 WHERE g.id = $1::bigint AND ($2::text IS NULL OR pr.name = $2::text);
