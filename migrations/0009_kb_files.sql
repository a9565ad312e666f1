-- What curators do with the knowledge: entries of their own wording, files as they came in, and writes that know what they stand on.

-- What a node is about, in the words of this house: kept when a newer program brings others, which then wait in entry_shipped.
ALTER TABLE challenge
    ADD COLUMN entry_shipped jsonb,
    ADD COLUMN entry_own boolean NOT NULL DEFAULT false,
    ADD COLUMN entry_revision integer NOT NULL DEFAULT 1,
    ADD COLUMN entry_by text NOT NULL DEFAULT 'portoland',
    ADD COLUMN entry_at timestamptz NOT NULL DEFAULT now();
UPDATE challenge SET entry_shipped = entry;

CREATE FUNCTION challenge_entry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kb_change (actor, object, action, before, after)
    VALUES (NEW.entry_by, 'entry ' || NEW.id, CASE WHEN OLD.entry IS NULL THEN 'add' WHEN OLD.entry_own AND NOT NEW.entry_own THEN 'restore' ELSE 'edit' END, OLD.entry, NEW.entry);
    PERFORM pg_notify('ptl_kb', '');
    RETURN NULL;
END $$;
CREATE TRIGGER challenge_entry_changed AFTER UPDATE ON challenge FOR EACH ROW
    WHEN (OLD.entry IS DISTINCT FROM NEW.entry) EXECUTE FUNCTION challenge_entry_changed();

-- Files that were imported, so that they go out as the bytes they came as.
CREATE TABLE kb_file (
    path        text PRIMARY KEY CHECK (length(path) <= 1024),
    text        text NOT NULL CHECK (length(text) <= 1048576),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text NOT NULL
);

-- Two curators do not overwrite each other: a write says which revision it was made from (0: there is none yet; null: whatever is there).
CREATE FUNCTION kb_expect(what text, wanted bigint, present bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF wanted IS NULL OR wanted = present THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION '% is at revision %, this change was made from %', what, present, wanted USING ERRCODE = 'PT409';
END $$;
