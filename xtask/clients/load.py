"""Fifty clients for a minute: every answer is right or an honest 429, and the server's memory stays flat."""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlparse

url, pid = urlparse(sys.argv[1]), int(sys.argv[2])
SECONDS, CLIENTS = 60, 50
TEXT = {"messages": [{"role": "user", "content": "What is the capital of Poland?"}]}
ASKED = [
    ("POST", "/api/generate", {"text": TEXT, "sampling": {"max_tokens": 4}, "edits": [], "alternatives": 3}),
    ("POST", "/api/explain", {"text": TEXT, "edits": [], "metric": {"position": 20}, "units": 50}),
    ("POST", "/api/score", {"text": TEXT, "edits": [], "top": 3}),
    ("POST", "/api/activations", {"text": TEXT, "edits": []}),
    ("GET", "/api/unit?unit=mlp_act.14/7", None),
    ("POST", "/api/find", {"query": "months", "k": 5}),
    ("GET", "/api/status", None),
    ("GET", "/", None),
]
counts, faults, lock = {}, [], threading.Lock()


def memory():
    """Resident MiB, where the system tells."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    except OSError:
        return 0.0


def client(number, until):
    turn = number
    while time.monotonic() < until:
        method, path, body = ASKED[turn % len(ASKED)]
        turn += 1
        try:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=180)
            headers = {"content-type": "application/json", "x-pellucid-client": f"client {number}"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            reply = connection.getresponse()
            content = reply.read()
            connection.close()
            problem = None
            if reply.status == 429:
                if not reply.getheader("retry-after") or b'"busy"' not in content:
                    problem = "a 429 without a reason"
            elif reply.status != 200:
                problem = content[:200]
            elif path == "/api/generate" and b"event: done" not in content:
                problem = f"a cut answer: {content[-200:]}"
            with lock:
                counts[reply.status] = counts.get(reply.status, 0) + 1
                if problem:
                    faults.append((path, reply.status, problem))
            if reply.status == 429:
                time.sleep(0.5)
        except OSError as error:
            with lock:
                faults.append((path, None, repr(error)))


until = time.monotonic() + SECONDS
threads = [threading.Thread(target=client, args=(n, until)) for n in range(CLIENTS)]
for thread in threads:
    thread.start()
# the first third warms up: caches of pages, vectors and freed memory
time.sleep(SECONDS / 3)
before = memory()
for thread in threads:
    thread.join()
after = memory()
print(f"{CLIENTS} clients, {SECONDS} s: {sum(counts.values())} answers {counts}; resident {before:.0f} MiB, then {after:.0f}")
assert not faults, faults[:10]
assert counts.get(200, 0) > CLIENTS, counts
assert after <= before * 1.15 + 64, "memory grows"
