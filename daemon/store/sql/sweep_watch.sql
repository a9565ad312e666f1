-- sweep_watch: what the database's clock says; where it does not say what the asker expects, every lease begins anew, for agents are judged by their silence and not by a clock that was set, a daemon that was away or a database nobody could reach. What waits for a time that has moved away waits no longer.
-- $1 bigint the clock as expected, ms since 1970; NULL: nobody watched. $2 bigint ms by which it may differ, $3 bigint lease ms, $4 bigint claim lease ms.
-- Returns one row: at_ms bigint, renewed bigint, woken bigint.
-- @write
-- @repeatable
WITH look AS MATERIALIZED (
    SELECT at_ms, $1::bigint IS NULL OR abs(at_ms - $1::bigint) > $2::bigint AS anew, at_ms < $1::bigint - $2::bigint AS back
      FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS at_ms) AS now
), renewed AS (
    UPDATE stage s SET lease_until = now() + CASE WHEN s.state = 'claimed' THEN $4::bigint ELSE $3::bigint END * interval '1 ms'
      FROM look WHERE look.anew AND s.state IN ('claimed', 'running', 'cancelling')
    RETURNING s.id
), woken AS ( -- no wait before a retry is near ten minutes
    UPDATE stage s SET not_before = now()
      FROM look WHERE look.anew AND s.state IN ('waiting', 'queued') AND s.not_before > now() + CASE WHEN look.back THEN interval '0' ELSE interval '10 minutes' END
    RETURNING s.id
)
SELECT look.at_ms, (SELECT count(*) FROM renewed) AS renewed, (SELECT count(*) FROM woken) AS woken FROM look;
