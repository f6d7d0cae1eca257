"""`make evaluators`: evaluation programs of others ask a served model, and score what `eyegraft eval` scores."""
