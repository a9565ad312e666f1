-- kb_load: the knowledge a program ships with, into the tables.  $1 jsonb document (daemon/kb/data.h), $2 text version of the program.
-- Safe to repeat; does nothing when the same files were loaded last, or a newer program loaded others. Returns one row: loaded boolean, indicators
-- bigint, changed bigint (indicators added, edited, retired, restored).
-- @write bulk
-- @repeatable
WITH last AS (
    SELECT files_hash, string_to_array(regexp_replace(program, '[^0-9.].*$', ''), '.')::int[] > string_to_array(regexp_replace($2::text, '[^0-9.].*$', ''), '.')::int[] AS newer
      FROM kb_version ORDER BY id DESC LIMIT 1
), doc AS (
    SELECT $1::jsonb AS j WHERE NOT EXISTS (SELECT 1 FROM last WHERE newer OR files_hash = $1::jsonb ->> 'hash')
), version AS (
    INSERT INTO kb_version (files_hash, program, params) SELECT j ->> 'hash', $2::text, COALESCE(j -> 'params', '{}') FROM doc RETURNING id
), node AS (
    SELECT n.value AS j, n.ordinality AS position FROM doc, jsonb_array_elements(doc.j -> 'nodes') WITH ORDINALITY AS n
), entry AS (
    SELECT e.value ->> 'id' AS id, e.value AS j FROM doc, jsonb_array_elements(doc.j -> 'entries') AS e
), nodes AS (
    INSERT INTO challenge (id, taxonomy, kind, parent, title, share, questions, unanswered, median_minutes, position, data, entry, entry_shipped)
    SELECT n.j ->> 'id', n.j ->> 'taxonomy', n.j ->> 'kind', n.j ->> 'parent', n.j ->> 'title', (n.j ->> 'share')::float8, (n.j ->> 'questions')::int,
           (n.j ->> 'unanswered')::float8, (n.j ->> 'median_minutes')::float8, n.position, n.j, e.j, e.j
      FROM node n LEFT JOIN entry e ON e.id = n.j ->> 'id'
    ON CONFLICT (id) DO UPDATE SET taxonomy = excluded.taxonomy, kind = excluded.kind, parent = excluded.parent, title = excluded.title, share = excluded.share,
       questions = excluded.questions, unanswered = excluded.unanswered, median_minutes = excluded.median_minutes, position = excluded.position,
       data = excluded.data, retired_at = NULL, entry_shipped = excluded.entry_shipped,
       entry = CASE WHEN challenge.entry_own THEN challenge.entry ELSE excluded.entry END,
       entry_by = CASE WHEN challenge.entry_own OR challenge.entry IS NOT DISTINCT FROM excluded.entry THEN challenge.entry_by ELSE 'portoland' END,
       entry_revision = challenge.entry_revision + CASE WHEN challenge.entry_own OR challenge.entry IS NOT DISTINCT FROM excluded.entry THEN 0 ELSE 1 END
     WHERE challenge.origin = 'shipped'
    RETURNING id
), gone_nodes AS (
    UPDATE challenge c SET retired_at = now() FROM doc WHERE c.origin = 'shipped' AND c.retired_at IS NULL AND NOT EXISTS (SELECT 1 FROM node n WHERE n.j ->> 'id' = c.id)
), links AS (
    INSERT INTO challenge_link (from_id, to_id, why)
    SELECT l.value ->> 'from', l.value ->> 'to', l.value ->> 'why' FROM doc, jsonb_array_elements(doc.j -> 'links') AS l
    ON CONFLICT (from_id, to_id) DO UPDATE SET why = excluded.why WHERE challenge_link.origin = 'shipped'
), ind AS (
    SELECT i.value ->> 'id' AS id, i.value AS j FROM doc, jsonb_array_elements(doc.j -> 'indicators') AS i
), indicators AS (
    INSERT INTO indicator (id, data, updated_by) SELECT id, j, 'portoland' FROM ind
    ON CONFLICT (id) DO UPDATE SET data = excluded.data, revision = indicator.revision + 1, updated_at = now(), updated_by = 'portoland',
       retired_at = CASE WHEN indicator.retired_by = 'portoland' THEN NULL ELSE indicator.retired_at END,
       retired_by = CASE WHEN indicator.retired_by = 'portoland' THEN NULL ELSE indicator.retired_by END
     WHERE indicator.origin = 'shipped' AND (indicator.data IS DISTINCT FROM excluded.data OR indicator.retired_by = 'portoland')
    RETURNING id
), gone AS (
    UPDATE indicator i SET retired_at = now(), retired_by = 'portoland' FROM doc
     WHERE i.origin = 'shipped' AND i.retired_at IS NULL AND NOT EXISTS (SELECT 1 FROM ind WHERE ind.id = i.id)
    RETURNING i.id
)
SELECT EXISTS (SELECT 1 FROM version) AS loaded, (SELECT count(*) FROM ind) AS indicators, (SELECT count(*) FROM indicators) + (SELECT count(*) FROM gone) AS changed,
       (SELECT count(*) FROM nodes) AS nodes;
