"""Another team's service: notes, and an administrator's door. It knows nothing of gateways. Python's standard library alone."""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

notes = {"welcome": {"text": "Hello."}}


class Notes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, document):
        body = (json.dumps(document) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self):
        found = re.fullmatch(r"/notes/(\w+)", self.path)
        return found[1] if found else None

    def do_GET(self):
        if self.path == "/notes":
            self.reply(200, notes)
        elif self.note() in notes:
            self.reply(200, notes[self.note()])
        else:
            self.reply(404, {"error": "no such note"})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.note():
            notes[self.note()] = body
            self.reply(200, body)
        else:
            self.reply(404, {"error": "not found"})

    def do_DELETE(self):
        if notes.pop(self.note(), None):
            self.reply(200, {"deleted": self.note()})
        else:
            self.reply(404, {"error": "no such note"})

    def do_POST(self):
        if self.path == "/admin/reset":
            notes.clear()
            self.reply(200, {"reset": True})
        else:
            self.reply(404, {"error": "not found"})

    def log_message(self, form, *values):
        print("service:", form % values, flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=9000)
ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Notes).serve_forever()
