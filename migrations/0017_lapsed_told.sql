-- A stage that turns red while it waits (no agent took it, its total time ran out between two attempts) is told like one that failed: those who made
-- the commit, those who have it and those who watch it. No attempt ended, so nothing is learned of it: risk and the lines of stages stay as they are.
CREATE FUNCTION stage_lapsed_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM notify_tell('failed', 'stage ' || NEW.id || ' ' || NEW.fence || ' ' || COALESCE(NEW.ended_at, now()), (SELECT project_id FROM run WHERE id = NEW.run_id),
        ARRAY(SELECT person_id FROM run_author WHERE run_id = NEW.run_id
              UNION SELECT person_id FROM assignment WHERE stage_id = NEW.id AND state IN ('assigned', 'taken')
              UNION SELECT w.person_id FROM assignment_watch w JOIN assignment g ON g.id = w.assignment_id WHERE g.stage_id = NEW.id AND g.state IN ('assigned', 'taken', 'free')),
        NULL, notify_stage(NEW.id));
    RETURN NULL;
END $$;
CREATE TRIGGER stage_lapsed AFTER UPDATE OF state ON stage
    FOR EACH ROW WHEN (OLD.state = 'queued' AND NEW.state = 'red') EXECUTE FUNCTION stage_lapsed_tell();
