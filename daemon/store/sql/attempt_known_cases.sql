-- attempt_known_cases: the answered questions of others that are nearest to a failed attempt, among those of its challenge.  $1 bigint attempt, $2 bigint limit.
-- Nearest: by the words that the quoted lines, the template and the question have in common (the first 80 words of ours, the newest 1000 questions of theirs).
-- @read
WITH mine AS (
    SELECT a.challenge_id, to_tsvector('english', translate(left(COALESCE(a.template, '') || ' ' || COALESCE((SELECT string_agg(e.value ->> 'text', ' ' ORDER BY e.ordinality) FROM jsonb_array_elements(a.diagnosis -> 'evidence') WITH ORDINALITY AS e), ''), 6000), '<>', '  ')) AS words
      FROM attempt a WHERE a.id = $1::bigint AND a.challenge_id IS NOT NULL
), asked AS (
    SELECT mine.challenge_id, (SELECT string_agg('''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''', ' | ') FROM (SELECT lexeme FROM unnest(mine.words) ORDER BY positions[1] LIMIT 80) AS l)::tsquery AS query FROM mine
), near AS (
    SELECT k.id, k.url, k.title, k.platform, k.answered, k.asked_at, asked.query, k.words FROM asked JOIN known_case k ON k.challenge_id = asked.challenge_id AND k.answered ORDER BY k.id DESC LIMIT 1000
)
SELECT id, url, title, platform, answered, asked_at, round(COALESCE(ts_rank(words, query, 1), 0)::numeric, 4)::float8 AS score FROM near ORDER BY 7 DESC, id LIMIT $2::bigint;
