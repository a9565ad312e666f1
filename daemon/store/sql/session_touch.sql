-- session_touch: a session was used: it lives on, though never longer than its token nor than $3 after its begin.  $1 bigint session, $2 bigint lifetime in ms, $3 bigint longest life in ms.
-- @write bulk
WITH s AS (
    UPDATE web_session w SET seen_at = now(), expires_at = LEAST(now() + $2::bigint * interval '1 ms', w.created_at + $3::bigint * interval '1 ms', t.expires_at)
      FROM token t WHERE w.id = $1::bigint AND t.id = w.token_id RETURNING w.token_id
)
UPDATE token SET used_at = now() FROM s WHERE token.id = s.token_id;
