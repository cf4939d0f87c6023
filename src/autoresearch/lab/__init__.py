"""What a person declares: the task, the metric, the annotated constants."""
