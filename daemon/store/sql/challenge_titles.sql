-- challenge_titles: the deployment challenges by name, for finding the node that a label means. No parameters.
-- @read
SELECT id, parent, title FROM challenge WHERE taxonomy = 'deployment' AND retired_at IS NULL ORDER BY position;
