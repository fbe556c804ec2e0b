"""A small warehouse backend, described by openapi.yaml. Python's standard library alone."""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

items = {"bolt": 120, "nut": 80}


class Warehouse(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, document):
        body = (json.dumps(document) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/items":
            self.reply(200, items)
        else:
            self.reply(404, {"error": "not found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.fullmatch(r"/items/(\w+)/adjustments", self.path)
        if found and found[1] in items:
            items[found[1]] += body["delta"]
            self.reply(200, {found[1]: items[found[1]]})
        else:
            self.reply(404, {"error": "not found"})

    def do_DELETE(self):
        if self.path == "/items":
            items.clear()
            self.reply(200, items)
        else:
            self.reply(404, {"error": "not found"})

    def log_message(self, form, *values):
        print("backend:", form % values, flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=9000)
ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Warehouse).serve_forever()
