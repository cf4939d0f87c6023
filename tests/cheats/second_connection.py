"""Opens further connections to the judge, and asks them for a score."""

import os
import socket

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
for _ in range(20):
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(os.path.relpath(os.environ["AUTORESEARCH_SOCKET"]))
        sock.sendall(b'{"hello": 1}\n')
        print("CONNECTED", sock.recv(100))
    except OSError as error:
        print(error)
judge.start(model)
tiny.train(model, judge)
print("val_bpb:", judge.submit(model))
