-- event_after: events behind a cursor, none skipped however transactions overlap.  $1 text cursor txid, $2 bigint cursor id, $3 bigint run or null, $4 text project or null, $5 bigint limit.
-- @read
SELECT e.txid::text AS txid, e.id, e.at, e.project_id, e.run_id, e.stage_id, e.attempt_id, e.kind, e.data, p.name AS project
  FROM event e JOIN project p ON p.id = e.project_id
 WHERE (e.txid, e.id) > ($1::text::xid8, $2::bigint) AND e.txid < pg_snapshot_xmin(pg_current_snapshot())
   AND ($3::bigint IS NULL OR e.run_id = $3::bigint) AND ($4::text IS NULL OR p.name = $4::text)
 ORDER BY e.txid, e.id LIMIT $5::bigint;
