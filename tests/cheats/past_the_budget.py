"""Trains on until four times its budget is used."""

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
judge.start(model)
tiny.train_steps(model, judge, seconds=4.5)
print("val_bpb:", judge.submit(model))
