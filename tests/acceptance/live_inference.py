"""Live inference that needs a GPU, as a program of its own: it joins the runtime's cluster, deploys
itself on Serve, and prints how long it waited. ``python live_inference.py ADDRESS [SECONDS]``.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray
from ray import serve

APP = "live"


class Inference:
    """A replica that holds one GPU."""

    def __call__(self, request: Any) -> str:
        return "answered"


def main(address: str, stay_s: float) -> None:
    """Deploy, wait until a replica runs, say how long that took, stay, and leave."""
    ray.init(address=address, namespace="live", log_to_driver=False, logging_level=logging.ERROR)
    deployment: Any = serve.deployment(
        Inference, name="Inference", ray_actor_options={"num_gpus": 1, "num_cpus": 0}
    )
    began = time.monotonic()
    serve.run(deployment.bind(), name=APP, route_prefix="/live")
    print(f"ready {time.monotonic() - began:.2f}", flush=True)
    time.sleep(stay_s)
    serve.delete(APP)
    print("gone", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 3.0)
