-- notify_due: due dates that come near (a day before, or the last quarter of a shorter time) or went by, each told once.
-- @write
-- @repeatable
WITH due AS (
    SELECT id, person_id, due_at, CASE WHEN due_at < now() THEN 'overdue' ELSE 'due_soon' END AS what FROM assignment
     WHERE due_at IS NOT NULL AND due_told <> 'overdue' AND state IN ('assigned', 'taken', 'free')
       AND (due_at < now() OR (due_told = '' AND due_at < now() + LEAST(interval '24 hours', (due_at - created_at) / 4)))
     ORDER BY due_at LIMIT 100 FOR UPDATE SKIP LOCKED
), told AS (
    UPDATE assignment a SET due_told = CASE due.what WHEN 'overdue' THEN 'overdue' ELSE 'soon' END FROM due WHERE a.id = due.id RETURNING a.id
)
INSERT INTO assignment_event (assignment_id, actor, action, person_id, text)
SELECT due.id, 'portoland', due.what, due.person_id, NULL FROM due JOIN told ON told.id = due.id;
