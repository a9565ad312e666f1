-- known_case_put: questions that others asked; the same again changes nothing.  $1 jsonb [{id, url, title, text, platform, labels, tags, challenge, answered, asked_at}], $2 who.
-- Returns one row: added bigint, changed bigint, same bigint.
-- @write bulk
-- @repeatable
WITH new AS (
    SELECT DISTINCT ON (id) * FROM jsonb_to_recordset($1::jsonb) AS x (id text, url text, title text, text text, platform text, labels text[], tags text[], challenge text, answered boolean, asked_at timestamptz) ORDER BY id
), put AS (
    INSERT INTO known_case AS k (id, url, title, text, platform, labels, tags, challenge_id, answered, asked_at, imported_by)
    SELECT id, url, title, text, platform, COALESCE(labels, '{}'), COALESCE(tags, '{}'), challenge, COALESCE(answered, false), asked_at, $2::text FROM new
    ON CONFLICT (id) DO UPDATE SET url = excluded.url, title = excluded.title, text = excluded.text, platform = excluded.platform, labels = excluded.labels, tags = excluded.tags,
       challenge_id = excluded.challenge_id, answered = excluded.answered, asked_at = excluded.asked_at, imported_at = now(), imported_by = excluded.imported_by
     WHERE (k.url, k.title, k.text, k.platform, k.labels, k.tags, k.challenge_id, k.answered, k.asked_at)
           IS DISTINCT FROM (excluded.url, excluded.title, excluded.text, excluded.platform, excluded.labels, excluded.tags, excluded.challenge_id, excluded.answered, excluded.asked_at)
    RETURNING (xmax = 0) AS fresh
)
SELECT (SELECT count(*) FROM put WHERE fresh) AS added, (SELECT count(*) FROM put WHERE NOT fresh) AS changed, (SELECT count(*) FROM new) - (SELECT count(*) FROM put) AS same;
