-- blob_project: is this blob part of a project that a confined token may see.  $1 text sha256, $2 text project name.
-- @read
SELECT EXISTS (SELECT 1 FROM artifact f JOIN attempt a ON a.id = f.attempt_id JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE f.sha256 = $1::text AND p.name = $2::text)
    OR EXISTS (SELECT 1 FROM run r JOIN project p ON p.id = r.project_id WHERE r.source_sha256 = $1::text AND p.name = $2::text) AS allowed;
