"""Submits, looks at its score, and submits another model."""

import tiny

import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
judge.start(model)
tiny.train(model, judge)
judge.submit(model)
try:
    print("val_bpb:", judge.submit(lambda ids: 2 * model(ids)))
except SystemExit:
    pass
