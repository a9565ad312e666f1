-- run_authors: who committed what a run brought.  $1 bigint run, $2 jsonb [{name, email, commits}], mailmap applied.
-- @write
WITH author AS (
    SELECT person_of_commit(a.name, a.email) AS person_id, sum(a.commits) AS commits FROM jsonb_to_recordset($2::jsonb) AS a (name text, email text, commits integer) GROUP BY 1
), put AS (
    INSERT INTO run_author (run_id, person_id, commits) SELECT r.id, author.person_id, author.commits FROM author, run r WHERE r.id = $1::bigint AND author.person_id IS NOT NULL
    ON CONFLICT (run_id, person_id) DO UPDATE SET commits = EXCLUDED.commits
    RETURNING person_id
)
INSERT INTO person_project (person_id, project_id, seen_at) SELECT put.person_id, r.project_id, now() FROM put, run r WHERE r.id = $1::bigint
ON CONFLICT (person_id, project_id) DO UPDATE SET seen_at = now();
