-- failure_print: gives an old diagnosis what later ones have: template, fingerprint, bands.  $1 bigint attempt, $2 jsonb these members.
-- @write
-- @repeatable
UPDATE attempt SET diagnosis = diagnosis || $2::jsonb WHERE id = $1::bigint AND NOT diagnosis ? 'fingerprint';
