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
