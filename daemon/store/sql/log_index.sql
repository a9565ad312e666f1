-- log_index: where the lines of a log are: at most $2 places, each with the count of newlines before it.  $1 bigint attempt, $2 bigint places.
-- Returns start_offset, lines (newlines before it) and, in every row, the totals; `uncounted` pieces make the numbers behind them wrong: log_uncounted first.
-- @read
WITH c AS (
    SELECT start_offset, newlines, COALESCE(sum(newlines) OVER (ORDER BY start_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS lines,
           row_number() OVER (ORDER BY start_offset) - 1 AS n, count(*) OVER () AS pieces
      FROM log_chunk WHERE attempt_id = $1::bigint
)
SELECT start_offset, lines, (SELECT COALESCE(sum(newlines), 0) FROM c) AS total, (SELECT count(*) FROM c WHERE newlines IS NULL) AS uncounted
  FROM c WHERE n % ((pieces + $2::bigint - 1) / $2::bigint) = 0 ORDER BY start_offset;
