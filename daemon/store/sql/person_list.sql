-- person_list: by handle.  $1 after, $2 bigint limit, $3 project the asking token is confined to or null: then only who committed there or was given something there, $4 boolean show addresses and tokens, $5 handle or null: only this one.
-- @read
SELECT p.name, p.display_name, p.forge_login, p.suggestions, p.time_zone, p.created_by, p.created_at,
       CASE WHEN $4::boolean THEN ARRAY(SELECT value FROM person_alias a WHERE a.person_id = p.id AND a.kind = 'email' ORDER BY value) END AS emails,
       CASE WHEN $4::boolean THEN ARRAY(SELECT value FROM person_alias a WHERE a.person_id = p.id AND a.kind = 'token' ORDER BY value) END AS tokens,
       ARRAY(SELECT value FROM person_alias a WHERE a.person_id = p.id AND a.kind = 'name' ORDER BY value) AS aliases,
       ARRAY(SELECT y.name FROM person_project x JOIN project y ON y.id = x.project_id WHERE x.person_id = p.id AND ($3::text IS NULL OR y.name = $3::text) ORDER BY x.seen_at DESC LIMIT 50) AS projects,
       (SELECT count(*) FROM assignment g JOIN project y ON y.id = g.project_id WHERE g.person_id = p.id AND g.state IN ('assigned', 'taken') AND ($3::text IS NULL OR y.name = $3::text)) AS assignments
  FROM person p
 WHERE p.name > $1::text AND ($5::text IS NULL OR p.id = person_find($5::text))
   AND ($3::text IS NULL OR EXISTS (SELECT 1 FROM person_project x JOIN project y ON y.id = x.project_id WHERE x.person_id = p.id AND y.name = $3::text)
        OR EXISTS (SELECT 1 FROM assignment g JOIN project y ON y.id = g.project_id WHERE g.person_id = p.id AND y.name = $3::text))
 ORDER BY p.name LIMIT $2::bigint;
