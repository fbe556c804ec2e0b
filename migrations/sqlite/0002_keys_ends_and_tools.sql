-- What the rotation of keys and the restoring of backups rely on. What a restore writes (an approval cancelled by an
-- operator, a `store_restored` record) is not known to versions that stop at the first schema.

-- A sealed message begins with its format and with the id of its key: which keys are still needed is read from here
-- without reading what they sealed.
CREATE INDEX requests_sealed_by ON requests (substr(sealed, 1, 2));
CREATE INDEX results_sealed_by ON results (substr(sealed, 1, 2));

-- As before, and an execution that has ended stays ended: what may have run goes nowhere but to its settlement.
DROP TRIGGER approvals_change_forward;
CREATE TRIGGER approvals_change_forward BEFORE UPDATE ON approvals
WHEN NEW.version <> OLD.version + 1
  OR NEW.id <> OLD.id OR NEW.agent <> OLD.agent OR NEW.fingerprint <> OLD.fingerprint
  OR NEW.expires_at <> OLD.expires_at
  OR (OLD.state <> 'pending' AND NEW.state <> OLD.state)
  OR (NEW.execution = 'releasing' AND OLD.execution NOT IN ('held', 'failed', 'releasing'))
  OR (OLD.execution IN ('succeeded', 'resolved') AND NEW.execution IS NOT OLD.execution)
  OR (OLD.execution = 'unknown' AND (NEW.execution IS NULL OR NEW.execution NOT IN ('unknown', 'resolved')))
BEGIN
    SELECT RAISE(ABORT, 'an approval changes forward only');
END;

-- Tool definitions of MCP upstreams. Times are milliseconds since 1970-01-01T00:00:00Z.

-- Upstreams that were listed. While `baseline_open`, the first list is being read, and what it has is accepted.
CREATE TABLE tool_upstreams (
    name            TEXT    PRIMARY KEY,
    first_listed_at INTEGER NOT NULL,
    baseline_open   INTEGER NOT NULL CHECK (baseline_open IN (0, 1))
) STRICT;

-- `body` is the whole tool as JSON; the columns before it repeat what is searched or constrained.
CREATE TABLE tools (
    upstream TEXT    NOT NULL REFERENCES tool_upstreams (name),
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version >= 0),
    standing TEXT    NOT NULL CHECK (standing IN ('accepted', 'new', 'changed')),
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),
    body     TEXT    NOT NULL,
    PRIMARY KEY (upstream, name)
) STRICT;

CREATE TRIGGER tools_change_forward BEFORE UPDATE ON tools
WHEN NEW.version <> OLD.version + 1 OR NEW.upstream <> OLD.upstream OR NEW.name <> OLD.name
BEGIN
    SELECT RAISE(ABORT, 'a tool changes forward only');
END;
-- A tool that was forgotten would come back as one that nobody ever listed.
CREATE TRIGGER tools_are_kept BEFORE DELETE ON tools
BEGIN
    SELECT RAISE(ABORT, 'tools are kept');
END;
