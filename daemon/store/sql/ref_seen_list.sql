-- ref_seen_list: refs as last seen, all of them (one left out would be told as new at each poll), ordered by their bytes as git does.  $1 bigint project.
-- @read
SELECT ref, sha FROM ref_seen WHERE project_id = $1::bigint ORDER BY ref COLLATE "C";
