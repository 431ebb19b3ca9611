"""How long a search takes, apart from the query's embedding, and what it costs in memory."""
