-- notify_prune: what was told or given up a month ago is forgotten.
-- @write
-- @repeatable
DELETE FROM notify_outbox WHERE id IN (SELECT id FROM notify_outbox WHERE created_at < now() - interval '30 days' AND (sent_at IS NOT NULL OR gave_up_at IS NOT NULL) LIMIT 5000);
