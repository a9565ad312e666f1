-- What the web UI needs: a browser's session in place of a token (a cookie that scripts cannot read), and the count of newlines of every piece of a
-- log, so that a line of a large log is found without reading it.

CREATE TABLE web_session (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash        text NOT NULL UNIQUE,            -- SHA-256 of the cookie's value, hex
    token_id    bigint NOT NULL REFERENCES token ON DELETE CASCADE,   -- may do what its token may, and ends with it
    created_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX web_session_expiry ON web_session (expires_at);
CREATE INDEX web_session_token ON web_session (token_id);

ALTER TABLE log_chunk ADD COLUMN newlines integer;   -- null: written before this column, or in part a repeat; counted when it is asked for

ALTER TABLE delivery ADD COLUMN pushes jsonb;        -- what it told of, so that it can be replayed; null: received before this column
CREATE INDEX push_delivery ON push (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX run_push ON run (push_id) WHERE push_id IS NOT NULL;
