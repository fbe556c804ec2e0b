-- The first schema. Times are milliseconds since 1970-01-01T00:00:00Z. Text of states is as in the API.

-- One row: where the audit trail ends. Written in the transaction of the records it names, so that a cut tail shows.
CREATE TABLE meta (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    head_seq  INTEGER NOT NULL CHECK (head_seq >= 0),
    head_hash BLOB    NOT NULL CHECK (length(head_hash) = 32),
    probes    INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, zeroblob(32), 0);

-- `body` is the whole approval as JSON; the columns before it repeat what is searched, constrained or indexed. It stands
-- last so that a scan does not read it.
CREATE TABLE approvals (
    id              TEXT    NOT NULL UNIQUE,
    version         INTEGER NOT NULL CHECK (version >= 0),
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    execution       TEXT    CHECK (execution IN ('held', 'releasing', 'succeeded', 'failed', 'unknown', 'resolved')),
    waiting         INTEGER NOT NULL CHECK (waiting >= 0),
    agent           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    rule            TEXT    NOT NULL,
    risk            TEXT    NOT NULL CHECK (risk IN ('low', 'medium', 'high', 'critical')),
    trace_id        TEXT,
    idempotency_key TEXT,
    fingerprint     BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    created_at      INTEGER NOT NULL,
    sla_at          INTEGER,
    expires_at      INTEGER NOT NULL,
    closed_at       INTEGER,
    ready_at        INTEGER,
    ready_until     INTEGER,
    body            TEXT    NOT NULL,
    CHECK ((state = 'pending') = (closed_at IS NULL)),
    -- What nobody approved is never sent.
    CHECK (execution IS NULL OR execution = 'held' OR state = 'approved'),
    CHECK (ready_at IS NULL OR (state = 'approved' AND execution IN ('held', 'failed')))
) STRICT;

-- What identical calls find (newest first), and the retry of a call by its key.
CREATE INDEX approvals_same ON approvals (agent, fingerprint);
CREATE INDEX approvals_key ON approvals (agent, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The queue in its order, with all that its figures need; and its deadlines.
CREATE INDEX approvals_queue ON approvals (id, agent, rule, risk, created_at, sla_at) WHERE state = 'pending';
CREATE INDEX approvals_due ON approvals (expires_at) WHERE state = 'pending';
-- What must be put right after the process ended without warning.
CREATE INDEX approvals_live ON approvals (id) WHERE waiting > 0 OR execution = 'releasing';
-- What the gateway itself should send.
CREATE INDEX approvals_ready ON approvals (ready_at, ready_until) WHERE ready_at IS NOT NULL;
CREATE INDEX approvals_trace ON approvals (trace_id, id) WHERE trace_id IS NOT NULL;

CREATE TRIGGER approvals_change_forward BEFORE UPDATE ON approvals
WHEN NEW.version <> OLD.version + 1
  OR NEW.id <> OLD.id OR NEW.agent <> OLD.agent OR NEW.fingerprint <> OLD.fingerprint
  OR NEW.expires_at <> OLD.expires_at
  OR (OLD.state <> 'pending' AND NEW.state <> OLD.state)
  OR (NEW.execution = 'releasing' AND OLD.execution NOT IN ('held', 'failed', 'releasing'))
BEGIN
    SELECT RAISE(ABORT, 'an approval changes forward only');
END;
CREATE TRIGGER approvals_are_kept BEFORE DELETE ON approvals
BEGIN
    SELECT RAISE(ABORT, 'approvals are kept');
END;

-- The sealed requests of detached calls, and their sealed answers.
CREATE TABLE requests (
    approval TEXT PRIMARY KEY REFERENCES approvals (id),
    sealed   BLOB NOT NULL
) STRICT;
CREATE TABLE results (
    approval   TEXT PRIMARY KEY REFERENCES approvals (id),
    expires_at INTEGER NOT NULL,
    sealed     BLOB    NOT NULL
) STRICT;
CREATE INDEX results_over ON results (expires_at);

-- `event` is the text that was hashed; the hash before it is the row's before it.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    approval TEXT,
    event    TEXT NOT NULL,
    hash     BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_approval ON audit (approval, seq) WHERE approval IS NOT NULL;

CREATE TRIGGER audit_grows_by_one BEFORE INSERT ON audit
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail grows at its end only');
END;
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TABLE sessions (
    id_sha256  BLOB    PRIMARY KEY CHECK (length(id_sha256) = 32),
    reviewer   TEXT    NOT NULL,
    csrf       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_over ON sessions (expires_at);
