"""How near two claims are, by the store's own statistics: what everybody else's words say."""
