#!/usr/bin/env bash
# Runs in the head pod: Ray in the background, the runtime on it. One container, because owners and
# the runtime share the data directory, its locks and Ray's local socket.
#
# When the runtime ends by itself it is started again, at most MAX_RESTARTS times with growing
# pauses: its actors are detached and go on serving meanwhile. After that, or when Ray ends, the
# container ends and the kubelet restarts all of it. Nothing acked is lost in any of these cases.
set -uo pipefail

RAY_START="${KUBERAY_GEN_RAY_START_CMD:?is set by KubeRay with the annotation ray.io/overwrite-container-cmd}"
CONFIG="${SLEEP_CONFIG:-/etc/sleep-runtime/cluster.yaml}"
ADDRESS="${RAY_ADDRESS:-auto}"
MAX_RESTARTS="${MAX_RESTARTS:-5}"
RAY_READY_S="${RAY_READY_S:-120}"
DRAIN_S="${DRAIN_S:-60}"
KEY_WAIT_S="${KEY_WAIT_S:-3600}"
FIRST_PAUSE_S="${FIRST_PAUSE_S:-5}"

say() { echo "head: $*" >&2; }

ray_pid="" runtime_pid=""

# Ends one of our children: asks, waits at most so many seconds, then insists.
end() {
  local pid="$1" patience_s="$2" waited=0
  [ -n "$pid" ] || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$waited" -ge $((patience_s * 5)) ]; then
      kill -KILL "$pid" 2>/dev/null
      break
    fi
    sleep 0.2
    waited=$((waited + 1))
  done
  wait "$pid" 2>/dev/null
}

leave() {
  end "$runtime_pid" "$DRAIN_S"
  end "$ray_pid" 20
  exit "$1"
}

on_term() {
  say "asked to stop: draining"
  leave 0
}
trap on_term TERM INT

ray_answers() { timeout 10 ray health-check --address "$ADDRESS" >/dev/null 2>&1; }

wait_for_ray() {
  local until=$((SECONDS + RAY_READY_S))
  while ! ray_answers; do
    kill -0 "$ray_pid" 2>/dev/null || { say "Ray ended while it started"; return 1; }
    [ "$SECONDS" -lt "$until" ] || { say "Ray did not answer in $RAY_READY_S s"; return 1; }
    sleep 1 &
    wait $!
  done
}

# HAProxy needs five files for every two clients, and does not start without them.
ulimit -n 65536 2>/dev/null || say "the limit of open files stays at $(ulimit -Hn)"
files=$(ulimit -Hn)
[ "$files" = unlimited ] || [ "$files" -gt 65536 ] && files=65536
clients=$(((files - 500) * 2 / 5))
export RAY_SERVE_HAPROXY_MAXCONN="${RAY_SERVE_HAPROXY_MAXCONN:-$((clients < 16384 ? clients : 16384))}"
bash -c "exec $RAY_START" &
ray_pid=$!
wait_for_ray || leave 1

# Others reach this pod, so the runtime does not start before there is a key for them. Whoever runs
# the cluster makes the first: kubectl exec POD -c ray-head -- sleep-runtime keys create …
sleep-runtime keys wait --timeout "$KEY_WAIT_S" --config "$CONFIG" &
runtime_pid=$!
wait -n -p ended "$runtime_pid" "$ray_pid"
status=$?
[ "$ended" = "$runtime_pid" ] && [ "$status" -eq 0 ] || { say "no key was made, or Ray ended"; leave 1; }
runtime_pid=""

restarts=0 pause_s="$FIRST_PAUSE_S"
while :; do
  sleep-runtime up --address "$ADDRESS" --config "$CONFIG" &
  runtime_pid=$!
  started=$SECONDS
  wait -n "$runtime_pid" "$ray_pid"
  kill -0 "$ray_pid" 2>/dev/null || { say "Ray ended"; leave 1; }
  runtime_pid=""
  [ $((SECONDS - started)) -lt 600 ] || { # Others reach this pod, so the runtime does not start before there is a key for them. Whoever runs
# the cluster makes the first: kubectl exec POD -c ray-head -- sleep-runtime keys create …
sleep-runtime keys wait --timeout "$KEY_WAIT_S" --config "$CONFIG" &
runtime_pid=$!
wait -n -p ended "$runtime_pid" "$ray_pid"
status=$?
[ "$ended" = "$runtime_pid" ] && [ "$status" -eq 0 ] || { say "no key was made, or Ray ended"; leave 1; }
runtime_pid=""

restarts=0 pause_s="$FIRST_PAUSE_S"; }
  if [ "$restarts" -ge "$MAX_RESTARTS" ]; then
    say "the runtime ended $((restarts + 1)) times: giving up"
    leave 1
  fi
  restarts=$((restarts + 1))
  say "the runtime ended: start $restarts of $MAX_RESTARTS in $pause_s s"
  sleep "$pause_s" &
  wait $!
  pause_s=$((pause_s * 2))
done
