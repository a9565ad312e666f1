-- run_invalid: no plan came about.  $1 bigint run, $2 message, $3 sha or null, $4 pipeline text or null.
-- State: run preparing -> invalid.
-- @write
WITH numbered AS (
    UPDATE project p SET next_run_number = next_run_number + 1 FROM run r WHERE r.id = $1::bigint AND r.state = 'preparing' AND p.id = r.project_id RETURNING p.next_run_number - 1 AS number
), failed AS (
    UPDATE run SET state = 'invalid', number = numbered.number, message = $2::text, commit_sha = COALESCE($3::text, commit_sha), pipeline_text = $4::text, prepare_until = NULL, ended_at = now()
      FROM numbered WHERE id = $1::bigint AND state = 'preparing' RETURNING id, push_id
)
UPDATE push SET outcome = 'run' FROM failed WHERE push.id = failed.push_id;
