"""A server program made by the test: speaks HTTP as vLLM does on the port that its arguments name; misbehaves when told to.

What it is to do stands in its environment as `BEHAVIOUR`: `hang` (computes nothing, says nothing), `leave` (says why, exit
code 3), `stubborn` (ignores SIGTERM), or nothing. `RECORD` names a file that it writes its arguments, its environment and
the numbers of its children into.
"""

import sys
from pathlib import Path

SOURCE = """
import json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def after(flag):
    return sys.argv[sys.argv.index(flag) + 1]

behaviour = os.environ.get("BEHAVIOUR", "")
if sys.argv[1:] == ["--list-devices"]:
    print("Available devices:\\n  (none)")
    sys.exit(0)
child = subprocess.Popen(["sleep", "600"])
stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
if os.environ.get("RECORD"):
    told = {"argv": sys.argv[1:], "environ": dict(os.environ), "children": [child.pid, stray.pid], "pid": os.getpid()}
    with open(os.environ["RECORD"] + ".part", "w") as file:
        json.dump(told, file)
    os.replace(os.environ["RECORD"] + ".part", os.environ["RECORD"])
print("reading weights\\rreading weights 100%", flush=True)
if behaviour == "leave":
    print("INFO something\\nERROR: out of luck, the key was " + os.environ["VLLM_API_KEY"], file=sys.stderr, flush=True)
    sys.exit(3)
if behaviour == "hang":
    time.sleep(600)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Server(ThreadingHTTPServer):
    allow_reuse_address = False
    daemon_threads = True

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_):
        pass
    def send(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send({})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/v1") and self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            return self.send({"error": {"message": "no"}}, 401)
        if self.path == "/tokenize":
            return self.send({"count": len(json.dumps(asked.get("messages", asked.get("prompt"))).split())})
        if self.path != "/v1/chat/completions":
            return self.send({"error": {"message": "not here"}}, 404)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        words = asked["messages"][-1]["content"].split()
        for word in words:
            self.say({"choices": [{"index": 0, "delta": {"content": word + " "}}]})
            if word == "endless":
                while True:
                    self.say({"choices": [{"index": 0, "delta": {"content": "on "}}]})
                    time.sleep(0.02)
        self.say({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\\n\\n")
        self.close_connection = True
    def say(self, document):
        self.wfile.write(b"data: " + json.dumps(document).encode() + b"\\n\\n")
        self.wfile.flush()

Server((after("--host"), int(after("--port"))), Handler).serve_forever()
"""


def write_program(folder: Path, name: str) -> Path:
    """An executable of this name, run by the Python of the tests."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\n{SOURCE}", encoding="utf-8")
    path.chmod(0o755)
    return path
