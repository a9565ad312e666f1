-- What pages of the web UI write: a person's time zone, which new channels of theirs take; and managers let others watch an assignment.

ALTER TABLE person ADD COLUMN time_zone text;        -- such as Europe/Vienna; null: not known, new channels take UTC

-- person_change() and the zone: '' takes it away, null leaves it.
CREATE FUNCTION person_set(handle text, actor text, manages boolean, shown text, login text, suggest boolean, add_emails text[], drop_emails text[], add_tokens text[], drop_tokens text[], only_project text, zone text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    p bigint;
BEGIN
    IF zone <> '' AND NOT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = zone) THEN
        RAISE EXCEPTION 'body.time_zone: there is no zone %; expected one such as Europe/Vienna or UTC', left(zone, 60) USING ERRCODE = 'PT422';
    END IF;
    p := person_change(handle, actor, manages, shown, login, suggest, add_emails, drop_emails, add_tokens, drop_tokens, only_project);
    UPDATE person SET time_zone = NULLIF(zone, '') WHERE id = p AND zone IS NOT NULL;
    RETURN p;
END $$;

-- Whose watching of an assignment is meant: the actor's own, or, for whoever manages, somebody's of the directory.
CREATE FUNCTION assignment_watcher(of_id bigint, actor text, only_project text, handle text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    whom bigint;
BEGIN
    PERFORM assignment_locked(of_id, only_project);      -- raises when there is none
    whom := CASE WHEN handle IS NULL THEN person_of_token(actor) ELSE person_find_in(handle, only_project) END;
    IF whom IS NULL THEN
        RAISE EXCEPTION 'there is no person called %', left(handle, 63) USING ERRCODE = 'PT422';
    END IF;
    RETURN whom;
END $$;
