"""An OpenAI-compatible server for tests: it answers HumanEval's prompts with the canonical solutions, and
misbehaves as it is told.

  endpoint_server.py --port-file F --problems HumanEval.jsonl --log F [--script MODE,MODE,...] [--always MODE]
                     [--delay SECONDS] [--certificate F --key F] [--require-key KEY] [--only MODEL]

The first requests take their modes from the script, in order of arrival, all others are answered well:
  ok  429  500  503  half  garbage  null  huge  close  slow  text
Each request is a JSON line in the log.
"""
import argparse
import gzip
import http.server
import json
import os
import ssl
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--port-file", required=True)
parser.add_argument("--problems", required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--script", default="")
parser.add_argument("--always", default="")
parser.add_argument("--delay", type=float, default=0)
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--require-key", default="")
parser.add_argument("--only", default="")
options = parser.parse_args()

opener = gzip.open if options.problems.endswith(".gz") else open
with opener(options.problems, "rt", encoding="utf-8") as problems:
    solutions = {p["prompt"]: p["canonical_solution"] for p in map(json.loads, problems)}

lock = threading.Lock()
script = [mode for mode in options.script.split(",") if mode]
under_way = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, **fields):
        with lock, open(options.log, "a", encoding="utf-8") as log:
            log.write(json.dumps(fields) + "\n")

    def no_longer_under_way(self):
        """Before the answer's first byte: whoever has read it may ask again before this thread runs on."""
        global under_way
        with lock:
            under_way -= self.counted
            self.counted = 0

    def reply(self, status, body, headers=(), length=None):
        self.no_longer_under_way()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_POST(self):
        global under_way
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            mode = options.always or (script.pop(0) if script else "ok")
            under_way += 1
            self.counted = 1
            at_once = under_way
        try:
            self.note(path=self.path, mode=mode, at_once=at_once, key=self.headers.get("Authorization", ""), body=body)
            self.answer(mode, body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self.no_longer_under_way()

    def answer(self, mode, body):
        if options.require_key and self.headers.get("Authorization") != "Bearer " + options.require_key:
            return self.reply(401, b'{"error": {"message": "wrong key"}}')
        if options.only and body.get("model") != options.only:
            return self.reply(404, b'{"error": {"message": "no such model"}}')
        if options.delay:
            time.sleep(options.delay)
        if mode == "429":
            return self.reply(429, b'{"error": "slow down"}', [("Retry-After", "1")])
        if mode in ("500", "503"):
            return self.reply(int(mode), b"\x1b[31mbroken\x1b[0m")
        if mode == "close":
            self.no_longer_under_way()
            self.close_connection = True
            return self.connection.close()
        if mode == "slow":
            time.sleep(30)
        chat = self.path.endswith("/chat/completions")
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        text = solutions.get(prompt)
        if text is None:  # a chat question quotes the prompt
            text = next((s for p, s in solutions.items() if p.strip() in prompt), "    pass\n")
        text += "\ndef unasked():\n    return 1\n"
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if mode == "null":
            choice = {"text": 7}
        answer = json.dumps({"choices": [{**choice, "index": 0, "finish_reason": "stop"}],
                             "usage": {"completion_tokens": len(text.split())}}).encode()
        if mode == "text":
            answer = b"<html>a proxy's page</html>"
        if mode == "garbage":
            answer = b"\x00\xff{]" * 20
        if mode == "huge":
            return self.reply(200, b" " * (9 << 20))
        if mode == "half":
            return self.reply(200, answer[: len(answer) // 2], length=len(answer))
        return self.reply(200, answer)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if options.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(options.port_file + ".partial", "w", encoding="utf-8") as out:
    out.write(str(server.server_address[1]))
os.rename(options.port_file + ".partial", options.port_file)
server.serve_forever()
