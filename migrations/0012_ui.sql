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

-- Logging a command in by a browser (portolan login --web): the command is given two words, a long one that only it knows and asks with, and a short one that
-- it prints. A person who is logged in approves the short one; the next time the command asks, a token of that person is made and handed over, once. Only
-- digests are kept, and the token itself never is.
ALTER TABLE token ADD COLUMN parent_id bigint REFERENCES token ON DELETE CASCADE;   -- made by an approval of whoever showed that token; revoked with it
CREATE INDEX token_parent ON token (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE login_code (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_hash  text NOT NULL UNIQUE,           -- SHA-256 of what the command asks with
    user_hash    text NOT NULL UNIQUE,           -- SHA-256 of the short code: eight letters
    client       text NOT NULL,                  -- what the command says it is; shown, not believed
    address      text NOT NULL,                  -- where it asked from, as the daemon saw it
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'denied', 'taken')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    polled_at    timestamptz,
    every_ms     integer NOT NULL,               -- how long it has to wait between two questions; longer each time it does not
    token_id     bigint REFERENCES token ON DELETE CASCADE,   -- approved: who did
    role         text CHECK (role IN ('viewer', 'member', 'manager', 'curator', 'admin')),
    project_id   bigint,
    lifetime_ms  bigint,
    CHECK ((state IN ('approved', 'taken')) = (token_id IS NOT NULL))
);
CREATE INDEX login_code_expiry ON login_code (expires_at);

-- A new code, unless so many are open already. Old ones are cleared away a day after their end, a few at a time.
CREATE FUNCTION login_code_open(device text, short text, who text, peer text, within_ms bigint, poll_ms integer, most integer, most_of_peer integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('portolan login code'));
    DELETE FROM login_code WHERE id IN (SELECT id FROM login_code WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT 100);
    IF (SELECT count(*) FROM login_code WHERE expires_at > now() AND state IN ('open', 'approved')) >= most
       OR (SELECT count(*) FROM login_code WHERE expires_at > now() AND state IN ('open', 'approved') AND address = peer) >= most_of_peer THEN
        RETURN NULL;
    END IF;
    INSERT INTO login_code (device_hash, user_hash, client, address, expires_at, every_ms) VALUES (device, short, who, peer, now() + within_ms * interval '1 ms', poll_ms) RETURNING id INTO made;
    RETURN made;
END $$;

-- The command asks. Answers one of unknown, over, denied, slow_down, pending, and approved, once, with the token that was made of `fresh`.
CREATE FUNCTION login_code_poll(device text, fresh text, OUT said text, OUT wait_ms integer, OUT name text, OUT role text, OUT project text, OUT expires_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    c login_code;
    t token;
BEGIN
    SELECT * INTO c FROM login_code x WHERE x.device_hash = device FOR UPDATE;
    said := CASE WHEN NOT FOUND THEN 'unknown' WHEN c.state = 'taken' OR c.expires_at <= now() THEN 'over' WHEN c.state = 'denied' THEN 'denied' END;
    wait_ms := c.every_ms;
    IF said IS NOT NULL THEN
        RETURN;
    END IF;
    IF c.polled_at > now() - c.every_ms * interval '0.8 ms' THEN
        said := 'slow_down';
        wait_ms := LEAST(c.every_ms + 2000, 30000);
        UPDATE login_code x SET every_ms = wait_ms, polled_at = now() WHERE x.id = c.id;
        RETURN;
    END IF;
    UPDATE login_code x SET polled_at = now() WHERE x.id = c.id;
    IF c.state = 'open' THEN
        said := 'pending';
        RETURN;
    END IF;
    SELECT * INTO t FROM token x WHERE x.id = c.token_id AND x.revoked_at IS NULL AND (x.expires_at IS NULL OR x.expires_at > now()) FOR SHARE;
    IF NOT FOUND THEN                                    -- who approved it is shut out meanwhile
        UPDATE login_code x SET state = 'denied', token_id = NULL WHERE x.id = c.id;
        said := 'denied';
        RETURN;
    END IF;
    INSERT INTO token (hash, kind, name, role, project_id, created_by, expires_at, parent_id)
    VALUES (fresh, 'person', t.name, c.role, COALESCE(t.project_id, c.project_id), left(t.name || ' (login --web at ' || c.client || ')', 300), LEAST(now() + c.lifetime_ms * interval '1 ms', t.expires_at), t.id)
    RETURNING token.expires_at INTO expires_at;
    UPDATE login_code x SET state = 'taken' WHERE x.id = c.id;
    INSERT INTO audit (actor, action, object, detail) VALUES (t.name, 'token.create', 'token ' || t.name || ' (' || c.role || ')', jsonb_build_object('by', 'login --web', 'client', c.client, 'address', c.address));
    said := 'approved';
    name := t.name;
    role := c.role;
    project := (SELECT p.name FROM project p WHERE p.id = COALESCE(t.project_id, c.project_id));
END $$;

-- The nodes that an indicator speaks for, so that counting them for the map does not take every pattern apart.
CREATE FUNCTION indicator_nodes(data jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT COALESCE(array_agg(DISTINCT n.node ORDER BY n.node), '{}')
      FROM jsonb_each(CASE WHEN jsonb_typeof(data -> 'weights') = 'object' THEN data -> 'weights' ELSE '{}' END) w,
           jsonb_object_keys(CASE WHEN jsonb_typeof(w.value) = 'object' THEN w.value ELSE '{}' END) n (node)
$$;
ALTER TABLE indicator ADD COLUMN nodes text[] GENERATED ALWAYS AS (indicator_nodes(data)) STORED;
