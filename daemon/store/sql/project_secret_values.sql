-- project_secret_values: sealed values for a claim; the caller applies the policy.  $1 bigint project id, $2 text[] names.
-- @read
SELECT name, value, refs, stages FROM project_secret WHERE project_id = $1::bigint AND name = ANY ($2::text[]);
