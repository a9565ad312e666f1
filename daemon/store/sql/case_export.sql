-- case_export: what a text model can be trained on: known cases with a node, and failures that a person confirmed or corrected (their key lines only).  $1 text after this key or '',
-- $2 bigint limit, $3 text project of a confined token or null.  Returns rows in order of key: key, id, kind (feedback or known), platform, stage, log, label.
-- @read
SELECT * FROM (
    (SELECT 'a' || lpad(a.id::text, 19, '0') AS key, 'attempt-' || a.id AS id, 'feedback' AS kind, COALESCE(a.diagnosis ->> 'platform', s.host) AS platform, s.kind AS stage,
            (SELECT string_agg(e.value ->> 'text', E'\n' ORDER BY (e.value ->> 'line')::int, e.ordinality) FROM jsonb_array_elements(a.diagnosis -> 'evidence') WITH ORDINALITY AS e) AS log, a.challenge_id AS label
       FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id
      WHERE a.id IN (SELECT f.attempt_id FROM feedback f WHERE f.undone_at IS NULL) AND a.challenge_by = 'person' AND a.challenge_id IS NOT NULL AND a.diagnosis IS NOT NULL
        AND ($3::text IS NULL OR p.name = $3::text) AND ('a' || lpad(a.id::text, 19, '0')) COLLATE "C" > $1::text
      ORDER BY a.id LIMIT $2::bigint)
    UNION ALL
    (SELECT 'k' || k.id, k.id, 'known', k.platform, NULL, k.title || E'\n' || k.text, k.challenge_id FROM known_case k WHERE k.challenge_id IS NOT NULL AND ('k' || k.id) COLLATE "C" > $1::text ORDER BY k.id COLLATE "C" LIMIT $2::bigint)
) AS x WHERE log IS NOT NULL ORDER BY key COLLATE "C" LIMIT $2::bigint;
