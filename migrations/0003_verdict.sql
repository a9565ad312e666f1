-- The answer in force of a failed attempt: the diagnosis's first, unless a person said otherwise. Readers look here and nowhere else.
ALTER TABLE attempt
    ADD COLUMN challenge_id text,                 -- null: unclear, not diagnosed, or said to be no challenge
    ADD COLUMN challenge_by text CHECK (challenge_by IN ('diagnosis', 'person'));
CREATE INDEX attempt_challenge ON attempt (challenge_id, id) WHERE challenge_id IS NOT NULL;

CREATE FUNCTION attempt_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.challenge_by IS DISTINCT FROM 'person' THEN
        NEW.challenge_id := CASE WHEN NEW.diagnosis ->> 'state' = 'diagnosed' THEN NEW.diagnosis #>> '{challenges,0,id}' END;
        NEW.challenge_by := CASE WHEN NEW.diagnosis IS NOT NULL THEN 'diagnosis' END;
    END IF;
    RETURN NEW;
END $$;
-- Also when a person's word is taken back (challenge_by set to null).
CREATE TRIGGER attempt_verdict BEFORE UPDATE OF diagnosis, challenge_by ON attempt FOR EACH ROW EXECUTE FUNCTION attempt_verdict();
UPDATE attempt SET diagnosis = diagnosis WHERE diagnosis IS NOT NULL;
