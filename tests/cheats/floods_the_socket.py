"""Sends the judge a line without an end."""

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
judge.start(model)
judge._link.wire.sock.sendall(b"x" * 10_000_000)
