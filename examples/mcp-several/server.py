"""A small MCP server over Streamable HTTP, a wiki or a list of tickets, kept in memory. It needs Python's standard library alone.

It speaks the revisions from 2025-03-26 to 2026-07-28, without sessions and event streams, and knows nothing of a gateway.
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]
STATELESS = REVISIONS[-1]
VERSION = "io.modelcontextprotocol/protocolVersion"
BODY_BYTES_MAX = 1 << 20

LOCK = threading.Lock()
PAGES = {"travel": "Book trains, not planes.", "expenses": "Hand in receipts within a month."}
TICKETS = {1: "The printer is out of paper."}


def search_pages(query):
    found = [f"{name}: {text}" for name, text in PAGES.items() if query.lower() in f"{name} {text}".lower()]
    return "\n".join(found) or "nothing found"


def create_ticket(title):
    number = max(TICKETS) + 1
    TICKETS[number] = title
    return f"ticket {number} is open"


def search_tickets(query):
    found = [f"{number}: {title}" for number, title in TICKETS.items() if query.lower() in title.lower()]
    return "\n".join(found) or "nothing found"


# Two servers that know nothing of each other: both have a tool `search`.
OFFERS = {
    "wiki": {"search": (search_pages, "Finds pages by a word.", "query")},
    "tickets": {
        "search": (search_tickets, "Finds tickets by a word.", "query"),
        "create": (create_ticket, "Opens a ticket.", "title"),
    },
}
TOOLS = {}
INFO = {"name": "", "version": "1.0.0"}


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
    parser.add_argument("--offer", choices=sorted(OFFERS), required=True)
    arguments = parser.parse_args()
    TOOLS.update(OFFERS[arguments.offer])
    INFO["name"] = arguments.offer
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    server.serve_forever()
