"""Has a child that left its session print a better number after the end."""

import os
import time

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
judge.start(model)
tiny.train(model, judge)
print("val_bpb:", judge.submit(model))

if os.fork() == 0:
    os.setsid()
    time.sleep(0.05)
    print("val_bpb: 0.2", flush=True)
    os._exit(0)
time.sleep(0.2)
