"""Submits before its clock has started."""

import tiny

import judge as protocol
import prepare

judge = prepare.Judge()
model = tiny.Model(judge)
tiny.train_steps(model, judge, seconds=1.0)
try:
    print("val_bpb:", judge.submit(model))
except protocol.Refused as refused:
    print(refused)
