"""From a commit to a number: export it, run it, judge or score it, parse its log."""
