-- board: stages that wait or run, and red ones that nothing turned green since.  $1 project or null, $2 host or null, $3 target or null, $4 person's handle, 'me', 'none' or null, $5 state (upcoming, running,
-- red, or one of the stage's own) or null, $6 least risk, $7 sort: risk | due | age, $8 cursor's key or null, $9 cursor's id, $10 limit, $11 the asking token's name, $12 project it is confined to or null.
-- What nobody has comes first when sorted by risk. A red stage has failed: its chance is 1.
-- @read
WITH who AS (
    SELECT CASE WHEN $4::text = 'me' THEN person_of_token_found($11::text) ELSE person_find($4::text) END AS id
), shown AS MATERIALIZED (
    SELECT id FROM stage WHERE state IN ('waiting', 'gated', 'queued', 'claimed', 'running', 'deciding')
    UNION ALL
    SELECT l.stage_id FROM stage_line l WHERE NOT l.ok AND l.at > now() - interval '90 days'
), open AS MATERIALIZED ( -- each by its key, before any filter: where a filter may be there or not, a plan for all of them would begin with every run that there was
    SELECT s.id AS stage_id, s.state, s.platform, s.target, r.project_id, CASE WHEN s.state = 'red' THEN 1 ELSE s.risk_p END AS p, CASE WHEN s.state = 'red' THEN s.risk_hours ELSE s.risk_cost END AS cost,
           COALESCE(s.ended_at, s.queued_at, r.created_at) AS since
      FROM shown JOIN stage s ON s.id = shown.id JOIN run r ON r.id = s.run_id
     WHERE s.state IN ('waiting', 'gated', 'queued', 'claimed', 'running', 'deciding', 'red')
), item AS (
    SELECT s.stage_id, s.state, s.p, s.cost, s.since, g.id AS assignment_id, g.person_id, g.due_at
      FROM open s LEFT JOIN assignment g ON g.stage_id = s.stage_id AND g.state IN ('assigned', 'taken', 'free')
     WHERE (s.project_id IN (SELECT p.id FROM project p WHERE p.archived_at IS NULL AND ($12::text IS NULL OR p.name = $12::text) AND ($1::text IS NULL OR p.name = $1::text))) IS TRUE -- IS TRUE: hashed once, not joined
       AND ($2::text IS NULL OR s.platform = $2::text) AND ($3::text IS NULL OR s.target = $3::text)
       AND ($4::text IS NULL OR CASE WHEN $4::text = 'none' THEN g.person_id IS NULL ELSE g.person_id = (SELECT id FROM who) END)
       AND ($5::text IS NULL OR s.state = $5::text OR ($5::text = 'upcoming' AND s.state IN ('waiting', 'gated', 'queued')) OR ($5::text = 'running' AND s.state IN ('claimed', 'deciding')))
), keyed AS (
    SELECT item.*, CASE $7::text WHEN 'due' THEN -COALESCE(extract(epoch FROM due_at), 1e11) WHEN 'age' THEN -extract(epoch FROM since)
                   ELSE COALESCE(cost, 0) + CASE WHEN person_id IS NULL THEN 1e6 ELSE 0 END END::double precision AS key
      FROM item WHERE COALESCE(p, 0) >= $6::double precision
), page AS MATERIALIZED (
    SELECT * FROM keyed WHERE $8::double precision IS NULL OR (key, -stage_id) < ($8::double precision, -$9::bigint) ORDER BY key DESC, stage_id LIMIT $10::bigint
), told AS MATERIALIZED ( -- what is wide, of the page alone
    SELECT g.*, s.run_id, r.number AS run_number, p.name AS project, r.ref, s.name AS stage, s.kind, s.target, s.platform AS host, s.message, s.gate_why, s.approvers, s.attempt_id, s.uses, s.risk_hours AS hours, s.risk,
           a.challenge_id, a.challenge_by, a.diagnosis ->> 'summary' AS summary, a.diagnosis #> '{challenges,0,probability}' AS chance, c.title,
           CASE WHEN a.challenge_id IS NOT NULL THEN ARRAY[a.challenge_id] ELSE ARRAY(SELECT l ->> 'challenge_id' FROM jsonb_array_elements(COALESCE(s.risk -> 'likely', '[]')) l) END AS challenges
      FROM page g JOIN stage s ON s.id = g.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
      LEFT JOIN attempt a ON a.id = s.attempt_id AND g.state = 'red' LEFT JOIN challenge c ON c.id = a.challenge_id
)
SELECT g.stage_id, g.run_id, g.run_number, g.project, g.ref, g.stage, g.kind, g.target, g.host, g.state, g.message, g.gate_why, g.approvers, g.attempt_id, g.uses, g.since, g.key,
       CASE WHEN g.risk IS NOT NULL OR g.state = 'red' THEN
           jsonb_build_object('p', g.p, 'hours', g.hours, 'cost', g.cost,
                              'terms', CASE WHEN g.state = 'red' THEN jsonb_build_array(jsonb_build_object('name', 'failed', 'value', 1, 'why', 'it has failed: ' || COALESCE(g.summary, g.message, 'no message'))) ELSE '[]' END
                                       || COALESCE(g.risk -> 'terms', '[]')) END AS risk,
       CASE WHEN g.challenge_id IS NOT NULL THEN jsonb_build_array(jsonb_build_object('challenge_id', g.challenge_id, 'title', g.title, 'p', CASE WHEN g.challenge_by = 'person' THEN to_jsonb(1) ELSE g.chance END))
            ELSE COALESCE(g.risk -> 'likely', '[]') END AS likely,
       CASE WHEN g.assignment_id IS NOT NULL THEN
           (SELECT jsonb_build_object('id', x.id, 'person', w.name, 'display_name', w.display_name, 'state', x.state, 'due_at', x.due_at, 'attempt_id', x.attempt_id, 'created_at', x.created_at, 'created_by', x.created_by,
                                      'checklist_done', (SELECT count(*) FROM jsonb_array_elements(x.checklist) i WHERE (i ->> 'done')::boolean), 'checklist', jsonb_array_length(x.checklist))
              FROM assignment x LEFT JOIN person w ON w.id = x.person_id WHERE x.id = g.assignment_id) END AS assignment,
       COALESCE(u.suggested, '[]') AS suggested
  FROM told g
  LEFT JOIN people_suggested((SELECT jsonb_agg(jsonb_build_object('stage_id', t.stage_id, 'challenges', t.challenges)) FROM told t), (SELECT id FROM project WHERE name = $12::text)) u ON u.stage_id = g.stage_id
 ORDER BY g.key DESC, g.stage_id;
