-- ref_seen_list: refs as last seen.  $1 bigint project.
-- @read
SELECT ref, sha FROM ref_seen WHERE project_id = $1::bigint ORDER BY ref LIMIT 20000;
