-- How many attempts a stage may lose to its agents (an agent that went silent, a workspace that could not be set up) before it is red: what the daemon
-- allows any stage, or more where the stage's own `retry` names that reason or says always.
CREATE FUNCTION stage_losses_max(allowed bigint, spec jsonb, retry_max bigint, reason text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT GREATEST(allowed, CASE WHEN spec #> '{retry,when}' ?| ARRAY[reason, 'always'] THEN retry_max ELSE 0 END) $$;
