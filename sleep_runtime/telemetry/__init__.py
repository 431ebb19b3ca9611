"""Log events, metrics and fail points, each named in one table."""
