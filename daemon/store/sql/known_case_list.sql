-- known_case_list: questions that others asked.  $1 text challenge or null: of it and of what is below it, $2 text words or null, $3 text after this id or '', $4 bigint limit.
-- With words: those that hold them all, nearest first, one page. Without: by id.
-- @read
SELECT k.id, k.url, k.title, k.platform, k.challenge_id, k.labels, k.tags, k.answered, k.asked_at, left(k.text, 300) AS excerpt,
       CASE WHEN $2::text IS NOT NULL THEN round(ts_rank(k.words, websearch_to_tsquery('english', $2::text))::numeric, 4)::float8 END AS score
  FROM known_case k
 WHERE ($1::text IS NULL OR k.challenge_id = $1::text OR starts_with(k.challenge_id, $1::text || '/'))
   AND ($2::text IS NULL OR k.words @@ websearch_to_tsquery('english', $2::text)) AND ($2::text IS NOT NULL OR k.id > $3::text)
 ORDER BY score DESC NULLS LAST, k.id LIMIT $4::bigint;
