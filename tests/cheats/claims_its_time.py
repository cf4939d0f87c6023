"""Speaks the protocol itself, and says that time has run backwards."""

import math

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
wire = judge._link.wire
judge.start(model)
for claim in (-100.0, math.nan, math.inf, "0", None, 0):
    wire.send(elapsed=claim, budget=1e9)
    print(wire.receive())
tiny.train_steps(model, judge, seconds=4.5)
wire.send(submit=True, elapsed=-100.0, training_seconds=0, score=0.2, device="cpu", dtype="float32")
print(wire.receive())
