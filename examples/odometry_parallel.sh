#!/usr/bin/env bash
# Odometry over many clips, several at a time.
#
#   examples/odometry_parallel.sh paths clips/*.mp4
#   find recordings -name '*.mp4' -print0 | OPTIONS='--camera camera.json' examples/odometry_parallel.sh paths
#
# Each clip gets a folder in OUT with its path, result.json and report.html, and a log beside it. What is done stays;
# run it again after an interruption. Ends with 1 where a clip failed, and says which.
#
# JOBS     clips at a time; one for each core when not set
# OPTIONS  for cv3d odometry
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: $0 OUT [CLIP...]" >&2
  exit 2
fi
export out=$1 OPTIONS=${OPTIONS:-}
shift
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
mkdir -p "$out"

list() {
  if [ $# -gt 0 ]; then printf '%s\0' "$@"; else cat; fi
}

# One thread a clip: with a clip on every core, more would only be in each other's way.
export OMP_NUM_THREADS=1

# shellcheck disable=SC2016
list "$@" | xargs -0 -n 1 -P "$jobs" bash -c '
  name=$(basename "$1")
  name=${name%.*}
  # OPTIONS is split into words on purpose.
  if ! cv3d odometry "$1" -o "$out/$name" --progress none --json $OPTIONS > /dev/null 2> "$out/$name.log"; then
    echo "$1: $(tail -n 1 "$out/$name.log")" >&2
    exit 1
  fi
' bash || exit 1
