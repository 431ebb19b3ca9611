"""Search: over a no-op that embeds the query, and what ten thousand scopes do to it."""

from __future__ import annotations

from benchmarks.harness import Results, say
from benchmarks.hotpath.reference import PREFIX
from benchmarks.hotpath.windows import Window, Windows
from benchmarks.wrk import Client, Load

EMBED = f"{PREFIX}/embed"
NOOP = f"{PREFIX}/noop"


def measure(client: Client, results: Results, n: int, seconds: float, kind: str) -> None:
    """``n`` rounds of distinct queries against the embedding of the same queries."""
    windows = Windows(client, seconds, kind)
    for turn in range(n):
        say(f"search of {kind}, {turn + 1} of {n}")
        for concurrency in (1, 8):
            paths = {"ours": "/v1/search", "embed": EMBED, "noop": NOOP}
            asked = {name: Window(kind, concurrency, path) for name, path in paths.items()}
            _compare(results, f"{kind}_c{concurrency}", windows.by_turns(asked, turn))


def _compare(results: Results, name: str, found: dict[str, Load]) -> None:
    for who, load in found.items():
        results.add(f"search_{who}_p50_ms_{name}", load.p50_ms, "ms")
        results.add(f"search_{who}_p99_ms_{name}", load.p99_ms, "ms")
        results.add(f"search_{who}_rps_{name}", load.rps, "requests/s")
    ours, embed, noop = (found[who].p50_ms for who in ("ours", "embed", "noop"))
    results.add(f"search_p50_over_noop_plus_embed_{name}", ours / embed, "ratio")
    results.add(f"search_embed_share_{name}", (embed - noop) / ours, "ratio")
