-- failure_settle: puts what waits beside the indexes of words into them. Whoever stores a failure when that list is full has to, all of it at once,
-- and searches read the list from end to end. In the background it is neither's burden.  Returns pages.
-- @write bulk
-- @repeatable
SELECT gin_clean_pending_list('failure_terms') + gin_clean_pending_list('failure_log_words') AS pages;
