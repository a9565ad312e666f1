-- failure_similar: the nearest past failures: same fingerprint, same or nearly the same masked line, many of the same lines.  $1 bigint attempt, $2 project name or null (only its failures), $3 bigint at most.
-- Only bounded sets are ranked: 12 templates, 24 shapes, of each the newest few and the newest few that were resolved. What they are weighed by is all in the indexes that find them (0014).
-- Returns the failures, best group first; in a group resolved ones, then newest: score, line (0..1, how alike the best line is), lines (0..1, the lines together), same_print, same_operator, same_tool.
-- Whether it is confined is asked of `me`: of the parameter, each plan would be another, made anew for every call, and the making costs more than the looking.
-- @read
WITH me AS MATERIALIZED (
    SELECT f.template_id, f.shape_id, f.operator, f.tool, f.platform, COALESCE(f.challenge_id, '') AS challenge_id, f.project_id, t.text AS template, (SELECT id FROM project WHERE name = $2::text) AS only, $2::text IS NULL AS everywhere
      FROM failure f LEFT JOIN failure_template t ON t.id = f.template_id WHERE f.attempt_id = $1::bigint
), alike AS MATERIALIZED (
    SELECT me.template_id AS id, 1::real AS line FROM me WHERE me.template_id IS NOT NULL
    UNION ALL
    SELECT x.other_id, 1 - x.far FROM me, LATERAL (SELECT far, other_id FROM failure_alike WHERE template_id = me.template_id ORDER BY far, other_id LIMIT 11) x
), shapes AS MATERIALIZED (
    SELECT x.shape_id, count(*) AS bands
      FROM me JOIN failure_band b ON b.shape_id = me.shape_id, LATERAL (SELECT o.shape_id FROM failure_band o WHERE o.band = b.band LIMIT 100) x
     GROUP BY x.shape_id ORDER BY 2 DESC LIMIT 24
), found AS (
    SELECT f.* FROM me, LATERAL (SELECT attempt_id, at, class_id, template_id, shape_id, operator, resolved_at IS NOT NULL AS solved FROM failure WHERE me.everywhere AND shape_id = me.shape_id ORDER BY at DESC, attempt_id DESC LIMIT 12) f
    UNION
    SELECT f.* FROM me, alike a, LATERAL (
        SELECT attempt_id, at, class_id, template_id, shape_id, operator, resolved_at IS NOT NULL FROM failure WHERE me.everywhere AND template_id = a.id ORDER BY at DESC, attempt_id DESC LIMIT CASE WHEN a.id = me.template_id THEN 12 ELSE 4 END) f
    UNION
    SELECT f.* FROM me, alike a, LATERAL (
        SELECT attempt_id, at, class_id, template_id, shape_id, operator, resolved_at IS NOT NULL FROM failure WHERE me.only IS NOT NULL AND project_id = me.only AND template_id = a.id ORDER BY at DESC, attempt_id DESC
         LIMIT CASE WHEN a.id = me.template_id THEN 12 ELSE 4 END) f
    UNION
    SELECT f.* FROM me, alike a, LATERAL (
        SELECT s.attempt_id, s.at, s.class_id, s.template_id, s.shape_id, s.operator, true
          FROM (SELECT project_id, attempt_id, at, class_id, template_id, shape_id, operator FROM failure WHERE template_id = a.id AND resolved_at IS NOT NULL ORDER BY resolved_at DESC LIMIT 30) s
         WHERE me.everywhere OR s.project_id = me.only LIMIT CASE WHEN a.id = me.template_id THEN 8 ELSE 3 END) f
    UNION
    SELECT f.* FROM me, shapes s, LATERAL (
        SELECT n.attempt_id, n.at, n.class_id, n.template_id, n.shape_id, n.operator, n.resolved_at IS NOT NULL FROM (SELECT project_id, attempt_id, at, class_id, template_id, shape_id, operator, resolved_at FROM failure WHERE shape_id = s.shape_id ORDER BY at DESC, attempt_id DESC LIMIT CASE WHEN me.everywhere THEN 3 ELSE 30 END) n
         WHERE me.everywhere OR n.project_id = me.only LIMIT 3) f
), scored AS (
    SELECT f.attempt_id, f.template_id, f.at, f.solved, COALESCE(a.line, 0) AS line, COALESCE(sqrt(s.bands / 16.0), 0) AS lines, f.shape_id = me.shape_id AS same_print,
           f.operator = me.operator AS same_operator, o.tool = me.tool AS same_tool, o.challenge_id = me.challenge_id AND o.challenge_id <> '' AS same_challenge, c.project_id = me.project_id AS same_project, o.platform = me.platform AS same_platform
      FROM me, found f JOIN failure_class c ON c.id = f.class_id JOIN failure_form o ON o.id = c.form_id LEFT JOIN alike a ON a.id = f.template_id LEFT JOIN shapes s ON s.shape_id = f.shape_id
     WHERE f.attempt_id <> $1::bigint
), weighed AS (
    SELECT *, 0.45 * line + 0.25 * LEAST(1, lines) + 0.12 * same_challenge::int + 0.06 * COALESCE(same_operator, false)::int + 0.05 * same_tool::int + 0.04 * same_platform::int + 0.03 * same_project::int AS score FROM scored
), grouped AS (
    SELECT *, max(score) OVER (PARTITION BY template_id) AS best, row_number() OVER (PARTITION BY template_id ORDER BY solved DESC, score DESC, at DESC, attempt_id DESC) AS place FROM weighed
)
SELECT round(g.score::numeric, 3)::double precision AS score, round(g.line::numeric, 2)::double precision AS line, round(LEAST(1, g.lines)::numeric, 2)::double precision AS lines, COALESCE(g.same_print, false) AS same_print,
       COALESCE(g.same_operator, false) AS same_operator, g.same_tool, g.same_challenge, g.same_project, t.text AS template, v.*
  FROM (SELECT * FROM grouped WHERE place <= GREATEST(8, $3::bigint / 2) ORDER BY best DESC, template_id, place LIMIT $3::bigint) g JOIN failure_item v ON v.attempt_id = g.attempt_id LEFT JOIN failure_template t ON t.id = g.template_id
 ORDER BY g.best DESC, g.template_id, g.place;
