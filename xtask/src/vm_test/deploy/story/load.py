"""Asks a server again and again until its own input ends, and says what was lost.

Every request has a connection of its own; beside them one connection is held open from the beginning to
the end, and must carry an answer at the end.
"""

import json
import socket
import sys
import threading
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
lost, slowest, requests = [], 0.0, 0
ended = threading.Event()


def answer(connection):
    connection.sendall(REQUEST)
    got = b""
    while True:
        some = connection.recv(65536)
        if not some:
            break
        got += some
    return got.startswith(b"HTTP/1.0 200 ")


def connect():
    return socket.create_connection((HOST, PORT), timeout=30)


def wait_for_end():
    sys.stdin.read()
    ended.set()


held = connect()
threading.Thread(target=wait_for_end, daemon=True).start()
# Fewer requests show nothing, and one that is lost shows enough.
while not lost and (not ended.is_set() or requests < 20):
    begun = time.monotonic()
    try:
        with connect() as connection:
            if not answer(connection):
                lost.append("no answer")
    except OSError as error:
        lost.append(str(error))
    requests += 1
    slowest = max(slowest, time.monotonic() - begun)
    if requests == 1:
        print("begun", flush=True)
try:
    is_held = answer(held)
except OSError:
    is_held = False
print(json.dumps({"requests": requests, "lost": lost, "slowest": slowest, "held": is_held}))
