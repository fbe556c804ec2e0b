"""An upstream that writes down what it received and what Python made of it: one JSON line for each request.

The first line is `{"port": N}`. `raw` holds the bytes as they came, in base64; `path` and `names` are this language's reading of them:
the last of two equal keys, for instance.
"""

import base64
import json
import sys
import threading
import unicodedata
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()


def write(document):
    with lock:
        print(json.dumps(document), flush=True)


class Tee:
    """Remembers what was read from a stream."""

    def __init__(self, stream):
        self.stream = stream
        self.seen = bytearray()

    def read(self, size=-1):
        data = self.stream.read(size)
        self.seen += data
        return data

    def readline(self, limit=-1):
        data = self.stream.readline(limit)
        self.seen += data
        return data

    def __getattr__(self, name):
        return getattr(self.stream, name)


def member(document, wanted):
    """The members that a lenient server might take for `wanted`: any case, any compatible form, spaces and invisibles left out."""
    for key, value in document.items():
        folded = unicodedata.normalize("NFKC", key).casefold()
        if "".join(character for character in folded if character.isalnum()) == wanted:
            yield value


def names(document):
    """Everything that some tool server would take for a tool's name: batches are run, keys are folded."""
    if isinstance(document, list):
        return [name for element in document for name in names(element)]
    if not isinstance(document, dict):
        return []
    found = [name for params in member(document, "params") if isinstance(params, dict) for name in member(params, "name")]
    return [name for name in found if isinstance(name, str)]


def mirrored(headers):
    """The tools that a server which goes by its headers would run: every copy, each part of a list, and out of base64."""
    found = []
    for value in headers.get_all("mcp-name") or []:
        for part in [value, *value.split(",")]:
            part = part.strip()
            found.append(part.lower())
            if part.lower().startswith("=?base64?"):
                try:
                    found.append(base64.b64decode(part[9:].removesuffix("?=") + "==").decode())
                except ValueError:
                    pass
    return found


class Spy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: the second must not wait for the first to be acknowledged.
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.rfile = Tee(self.rfile)

    def body(self):
        if "chunked" in (self.headers.get("transfer-encoding") or "").lower():
            body = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0].strip() or b"0", 16)
                if size == 0:
                    while self.rfile.readline().strip():
                        pass
                    return body
                body += self.rfile.read(size)
                self.rfile.readline()
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self):
        body = self.body()
        try:
            document = json.loads(body) if body else None
        except ValueError:
            document = None
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        override = self.headers.get("x-original-url") or self.headers.get("x-rewrite-url")
        if override:
            path = override
        write(
            {
                "raw": base64.b64encode(bytes(self.rfile.seen)).decode(),
                "method": self.headers.get("x-http-method-override") or self.command,
                "target": self.path,
                "path": path,
                "headers": [[key.lower(), value] for key, value in self.headers.items()],
                "body": base64.b64encode(body).decode(),
                "names": names(document) + mirrored(self.headers),
            }
        )
        self.rfile.seen.clear()
        text = b'{"ok":true,"by":"python"}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        # Whatever the method is called, it is written down.
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        print(sys.exc_info()[1], file=sys.stderr)


server = Server(("127.0.0.1", 0), Spy)
write({"port": server.server_address[1]})
server.serve_forever()
