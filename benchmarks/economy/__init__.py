"""Economy: what learning costs in calls and tokens, beside the way memory layers do it today."""
