"""A small payments backend: refunds and customers, kept in memory. Python's standard library alone."""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

refunds = []
customers = {"c-1": {"name": "Ada"}, "c-2": {"name": "Grace"}}


class Payments(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, document):
        body = (json.dumps(document) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/refunds":
            self.reply(200, {"refunds": refunds})
        else:
            self.reply(404, {"error": "not found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/refunds":
            refunds.append({"id": f"r-{len(refunds) + 1}", **body})
            self.reply(201, refunds[-1])
        else:
            self.reply(404, {"error": "not found"})

    def do_DELETE(self):
        found = re.fullmatch(r"/customers/([\w-]+)", self.path)
        if found and customers.pop(found[1], None):
            self.reply(200, {"deleted": found[1]})
        else:
            self.reply(404, {"error": "not found"})

    def log_message(self, form, *values):
        print("backend:", form % values, flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=9000)
ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Payments).serve_forever()
