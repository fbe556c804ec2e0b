"""A small MCP server over standard input and output that does to each call what its tool's name says.

`MODERN=1` in the environment: it knows `server/discover`. `MODERN=dies` and `MODERN=mute`: it ends there, or never answers.
`REFUSES=1`: it refuses `initialize`.
"""

import json
import os
import subprocess
import sys
import time

SEEN = []
ASKED = 0


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(request, text):
    send({"id": request["id"], "result": {"content": [{"type": "text", "text": text}]}})


def receive():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    SEEN.append(line.rstrip("\n"))
    return json.loads(line)


def progress(request, value):
    token = request["params"]["_meta"]["progressToken"]
    send({"method": "notifications/progress", "params": {"progressToken": token, "progress": value}})


def ask(request):
    global ASKED
    ASKED += 1
    mine = f"child-{ASKED}"
    send({"id": mine, "method": "sampling/createMessage", "params": {"messages": []}})
    while True:
        reply = receive()
        if reply.get("id") == mine and "method" not in reply:
            return answer(request, json.dumps(reply.get("result", reply.get("error"))))
        handle(reply)


def flood(request):
    filler = "x" * 1000
    for number in range(20_000):
        send({"method": "notifications/message", "params": {"level": "info", "data": f"{number} {filler}"}})
    answer(request, "flooded")


def flood_stderr(request):
    for number in range(20_000):
        sys.stderr.write(f"{number} " + "y" * 1000 + "\n")
    sys.stderr.write("z" * 10_000_000)
    sys.stderr.flush()
    answer(request, "complained")


def grandchild(request):
    # Ignores what a well-behaved process ends by, and keeps none of our pipes.
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    child.stdout.readline()
    answer(request, str(child.pid))


def call(request):
    name = request["params"]["name"]
    if name == "echo":
        answer(request, json.dumps(request["params"].get("arguments")))
    elif name == "pid":
        answer(request, str(os.getpid()))
    elif name == "environment":
        answer(request, json.dumps(dict(os.environ)))
    elif name == "folder":
        answer(request, os.getcwd())
    elif name == "seen":
        answer(request, json.dumps(SEEN))
    elif name == "progress":
        progress(request, 1)
        progress(request, 2)
        answer(request, "done")
    elif name == "log":
        send({"method": "notifications/message", "params": {"level": "info", "data": "unrelated"}})
        answer(request, "logged")
    elif name == "ask":
        ask(request)
    elif name == "crash":
        os._exit(3)
    elif name == "progress_then_crash":
        progress(request, 1)
        time.sleep(0.2)
        os._exit(3)
    elif name == "flood":
        flood(request)
    elif name == "flood_stderr":
        flood_stderr(request)
    elif name == "long":
        answer(request, "x" * int(request["params"]["arguments"]["bytes"]))
    elif name == "noise":
        sys.stdout.write("starting up...\n[1, 2]\n{\"half\": \n\n")
        answer(request, "heard")
    elif name == "grandchild":
        grandchild(request)
    elif name == "deaf":
        answer(request, "deaf")
        time.sleep(600)
    elif name == "stubborn":
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        answer(request, str(os.getpid()))
        while True:
            time.sleep(600)
    elif name == "subscribe":
        meta = {"io.modelcontextprotocol/subscriptionId": request["id"]}
        send({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
        send({"id": request["id"], "result": {"_meta": meta}})
    elif name != "silent":
        send({"id": request["id"], "error": {"code": -32602, "message": f"Unknown tool: {name}"}})


def handle(message):
    method = message.get("method")
    if method == "initialize" and os.environ.get("REFUSES"):
        send({"id": message["id"], "error": {"code": -32602, "message": "refused"}})
    elif method == "initialize":
        agreed = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {}}
        send({"id": message["id"], "result": {**agreed, "serverInfo": {"name": "child", "version": "1"}}})
    elif method == "server/discover" and os.environ.get("MODERN") == "1":
        send({"id": message["id"], "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"]}})
    elif method == "server/discover" and os.environ.get("MODERN") == "dies":
        os._exit(1)
    elif method == "server/discover" and os.environ.get("MODERN") == "mute":
        pass
    elif method == "tools/call":
        call(message)
    elif "id" in message and method:
        send({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})


while True:
    handle(receive())
