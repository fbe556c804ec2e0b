"""Schemathesis at the real gateway: the admin API by its own document, with data in every state, as an admin and as an agent.

Arguments behind the binary go to `schemathesis run`. Ends with the worst of the runs' exit codes.
"""

import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BOUND = 60
TOKENS = {name: f"token-of-{name}-for-the-schema-tests-{'x' * 20}" for name in ("bot", "alice")}

CONFIG = """version: 1
proxy: {{ listen: 127.0.0.1:0 }}
admin: {{ listen: 127.0.0.1:0 }}
store: sqlite://holdpoint.db
policies: [policy.yaml]
agents:
  - {{ id: bot, token_sha256: {bot} }}
reviewers:
  - {{ id: alice, role: admin, groups: [ops], token_sha256: {alice} }}
upstreams:
  shop: {{ url: "http://127.0.0.1:{port}" }}
  mail: {{ url: "http://127.0.0.1:{port}/mcp", protocol: mcp }}
routes:
  - {{ path: /shop/, upstream: shop }}
  - {{ path: /mcp, upstream: mail }}
limits: {{ pending_per_agent_max: 5000, wait_max: 1s }}
drain_timeout: 1s
log: {{ level: info }}
"""

POLICY = """version: 1
default: block
rules:
  - { id: list, match: "shop:GET *", action: allow }
  - id: brief
    match: "shop:POST /brief"
    action: require_approval
    approval: { expires_in: 1s }
  - id: ask
    match: ["shop:POST *", send]
    action: require_approval
    reason: Somebody looks.
    risk: high
    approval: { approvers: { group: ops, count: 1 }, sla: 15m, summary: "Do ${args.what}", redact: [/args/secret] }
  - { id: never, match: "*", action: block }
"""


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers plain calls and the little of MCP that is asked of it; hangs up on `/lost`."""

    description = "Sends a mail."
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/lost":
            self.connection.close()
            self.close_connection = True
            return
        answer = {"done": True}
        if self.path == "/mcp":
            message = json.loads(body)
            schema = {"type": "object", "properties": {"to": {"type": "string"}}}
            tools = [{"name": name, "description": Upstream.description, "inputSchema": schema} for name in ("send", "read")]
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"tools": tools}}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Gateway:
    """The binary on free ports; its log names them."""

    def __init__(self, binary, folder, port):
        digest = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
        (folder / "holdpoint.yaml").write_text(CONFIG.format(port=port, **digest))
        (folder / "policy.yaml").write_text(POLICY)
        self.log = folder / "log"
        with self.log.open("w") as log:
            command = [binary, "serve", "-c", str(folder / "holdpoint.yaml")]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.proxy = wait_for(lambda: self.address("proxy"), "the proxy listens")
        self.admin = wait_for(lambda: self.address("admin"), "the admin side listens")

    def address(self, surface):
        if self.process.poll() is not None:
            raise SystemExit(f"the gateway ended:\n{self.log.read_text()}")
        for line in self.log.read_text().splitlines():
            if '"listening"' in line and f'"surface":"{surface}"' in line:
                found = re.search(r'"address":"([^"]+)"', line)
                return f"http://{found.group(1)}"
        return None

    def ask(self, base, method, target, token, body=None, **headers):
        headers = {"authorization": f"Bearer {TOKENS[token]}", "content-type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + target, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=BOUND) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def call(self, path, what, **headers):
        """A call that is parked; the gateway sends it once it is approved."""
        headers = {"prefer": "respond-async", **headers}
        status, got, body = self.ask(self.proxy, "POST", f"/shop/{path}", "bot", {"what": what, "secret": "s"}, **headers)
        assert status == 202, (status, body)
        return got["location"].rsplit("/", 1)[1]

    def action(self, what):
        status, _, body = self.ask(self.admin, "POST", "/v1/approvals", "bot", {"action": what, "context": {"what": what}})
        assert status == 201, (status, body)
        return json.loads(body)["id"]

    def decide(self, approval, decision):
        body = {"decision": decision, "reason": "looked at"}
        status, _, answer = self.ask(self.admin, "POST", f"/v1/approvals/{approval}", "alice", body)
        assert status == 200, (status, answer)

    def approval(self, approval):
        return json.loads(self.ask(self.admin, "GET", f"/v1/approvals/{approval}", "alice")[2])

    def listing(self):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        status, _, body = self.ask(self.proxy, "POST", "/mcp", "bot", message, accept="application/json")
        assert status == 200, (status, body)


def wait_for(look, what):
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"not within {BOUND} s: {what}")


def seed(gateway):
    """Approvals in every state, and tools of every standing; the ids."""
    ids = {"pending": gateway.call("pay", "pending"), "action": gateway.action("deploy")}
    for name, path, decision, state in [
        ("succeeded", "pay", "approved", "succeeded"),
        ("unknown", "lost", "approved", "unknown"),
        ("settled", "lost", "approved", "unknown"),
    ]:
        ids[name] = gateway.call(path, name)
        gateway.decide(ids[name], decision)
        outcome = lambda: (gateway.approval(ids[name])["outcome"] or {}).get("state") == state
        wait_for(outcome, f"{name}: the outcome is {state}")
    ids["rejected"] = gateway.call("pay", "rejected")
    gateway.decide(ids["rejected"], "rejected")
    ids["cancelled"] = gateway.action("cancelled")
    assert gateway.ask(gateway.admin, "POST", f"/v1/approvals/{ids['cancelled']}/cancel", "bot", {})[0] == 200
    settle = {"outcome": "committed", "note": "it is in the ledger"}
    assert gateway.ask(gateway.admin, "POST", f"/v1/approvals/{ids['settled']}/resolve", "alice", settle)[0] == 200
    ids["expired"] = gateway.call("brief", "expired")
    wait_for(lambda: gateway.approval(ids["expired"])["status"] == "expired", "an approval expires")
    gateway.listing()
    Upstream.description = "Sends a mail to everybody."
    gateway.listing()
    return ids


def main(binary, arguments):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="holdpoint-schema-") as name:
        folder = pathlib.Path(name)
        gateway = Gateway(binary, folder, upstream.server_address[1])
        try:
            ids = seed(gateway)
            print(f"seeded: {', '.join(sorted(ids))}", flush=True)
            codes = [schemathesis(gateway, folder, who, ids, arguments) for who in ("alice", "bot")]
            alive = gateway.process.poll() is None
            return max(*codes, 0 if alive else 1)
        finally:
            gateway.process.terminate()
            gateway.process.wait(BOUND)


def schemathesis(gateway, folder, who, ids, arguments):
    # Real ids among those that are made up: what is behind them answers differently.
    document = json.loads((ROOT / "openapi.json").read_text())
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    values = {"id": list(ids.values()), "upstream": ["mail"], "name": ["send", "read"]}[parameter["name"]]
                    parameter["examples"] = {f"e{n}": {"value": value} for n, value in enumerate(values)}
    described = folder / "openapi.json"
    described.write_text(json.dumps(document))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += [str(described), "--url", gateway.admin, "--header", f"Authorization: Bearer {TOKENS[who]}"]
    print(f"\n==> schemathesis as {who}", flush=True)
    return subprocess.run(command + arguments, cwd=folder, env=os.environ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
