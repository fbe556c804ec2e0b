"""A small MCP server over Streamable HTTP: notes, kept in memory. It needs Python's standard library alone.

It speaks the revisions from 2025-03-26 to 2026-07-28, without sessions and event streams, and knows nothing of a gateway.
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]
STATELESS = REVISIONS[-1]
VERSION = "io.modelcontextprotocol/protocolVersion"
INFO = {"name": "notes", "version": "1.0.0"}
BODY_BYTES_MAX = 1 << 20

LOCK = threading.Lock()
NOTES = {"opening-hours": "Open from 9 to 17.", "prices": "Coffee is 2.50."}
PUBLISHED = []


def search_notes(query):
    found = [f"{name}: {text}" for name, text in NOTES.items() if query.lower() in f"{name} {text}".lower()]
    return "\n".join(found) or "nothing found"


def publish_note(name):
    if name not in NOTES:
        raise ValueError(f"there is no note {name!r}")
    PUBLISHED.append(name)
    return f"published {name}, publication {len(PUBLISHED)}"


def delete_note(name):
    if NOTES.pop(name, None) is None:
        raise ValueError(f"there is no note {name!r}")
    return f"deleted {name}"


TOOLS = {
    "search_notes": (search_notes, "Finds notes by a word.", "query"),
    "publish_note": (publish_note, "Puts a note on the public web site.", "name"),
    "delete_note": (delete_note, "Deletes a note for good.", "name"),
}


class Fault(Exception):
    def __init__(self, status, code, message, data=None):
        super().__init__(message)
        self.status, self.code, self.data = status, code, data


def initialize(params):
    wanted = params.get("protocolVersion")
    agreed = wanted if wanted in REVISIONS and wanted != STATELESS else "2025-11-25"
    return {"protocolVersion": agreed, "capabilities": {"tools": {}}, "serverInfo": INFO}


def discover():
    about = {"io.modelcontextprotocol/serverInfo": INFO}
    return {"supportedVersions": REVISIONS, "capabilities": {"tools": {}}, "ttlMs": 60000, "cacheScope": "public", "_meta": about}


def list_tools(stateless):
    def schema(argument):
        return {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}

    tools = [
        {"name": name, "description": description, "inputSchema": schema(argument)}
        for name, (_, description, argument) in TOOLS.items()
    ]
    return {"tools": tools, "ttlMs": 60000, "cacheScope": "public"} if stateless else {"tools": tools}


def call_tool(params):
    if params.get("name") not in TOOLS:
        raise Fault(200, -32602, f"Unknown tool: {params.get('name')}")
    run, _, argument = TOOLS[params["name"]]
    given = (params.get("arguments") or {}).get(argument)
    try:
        if not isinstance(given, str):
            raise ValueError(f"the argument `{argument}` must be a string")
        with LOCK:
            text, failed = run(given), False
    except ValueError as error:
        text, failed = str(error), True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def answer(method, params):
    requested = (params.get("_meta") or {}).get(VERSION)
    if requested is not None and requested not in REVISIONS:
        raise Fault(400, -32022, "unsupported protocol version", {"supported": REVISIONS, "requested": requested})
    stateless = requested == STATELESS
    if method == "initialize":
        result = initialize(params)
    elif method == "server/discover" and stateless:
        result = discover()
    elif method == "ping":
        result = {}
    elif method == "tools/list":
        result = list_tools(stateless)
    elif method == "tools/call":
        result = call_tool(params)
    else:
        raise Fault(404 if stateless else 200, -32601, f"Method not found: {method}")
    return {"resultType": "complete", **result} if stateless else result


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            return self.reply(413)
        body = self.rfile.read(length)
        # No web page has any business here.
        if "Origin" in self.headers:
            return self.reply(403)
        try:
            message = json.loads(body)
        except ValueError:
            return self.reply(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "no JSON"}})
        if not isinstance(message, dict) or not isinstance(message.get("params", {}), dict):
            return self.reply(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no request"}})
        if "id" not in message or "method" not in message:
            return self.reply(202)
        try:
            self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": answer(message["method"], message.get("params", {}))})
        except Fault as fault:
            error = {"code": fault.code, "message": str(fault), **({"data": fault.data} if fault.data else {})}
            self.reply(fault.status, {"jsonrpc": "2.0", "id": message["id"], "error": error})

    def do_GET(self):
        self.reply(405)

    do_DELETE = do_GET

    def reply(self, status, document=None):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", "POST")
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    server.daemon_threads = True
    server.serve_forever()
