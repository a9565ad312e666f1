-- saved_query_list: one's own saved searches, then those that others share.  $1 token name, $2 project the token is confined to or null (then only what was saved within it).
-- @read
SELECT s.id, s.name, s.query, s.owner, s.owner = $1::text AS mine, s.shared, s.created_at FROM saved_query s LEFT JOIN project p ON p.id = s.project_id
 WHERE (s.owner = $1::text OR s.shared) AND ($2::text IS NULL OR p.name = $2::text) ORDER BY s.owner <> $1::text, s.name, s.id LIMIT 500;
