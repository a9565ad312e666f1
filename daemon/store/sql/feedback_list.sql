-- feedback_list: what people said of an attempt, newest first, undone words too.  $1 bigint attempt, $2 bigint limit.
-- @read
SELECT f.id, f.verdict, f.challenge_id, f.said_id, f.comment, f.by_name, f.at, f.undone_at, f.undone_by,
       f.undone_at IS NULL AND NOT EXISTS (SELECT 1 FROM feedback n WHERE n.attempt_id = f.attempt_id AND n.id > f.id AND n.undone_at IS NULL) AS in_force
  FROM feedback f WHERE f.attempt_id = $1::bigint ORDER BY f.id DESC LIMIT $2::bigint;
