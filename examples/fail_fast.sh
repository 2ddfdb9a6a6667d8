#!/usr/bin/env bash
# One recording after the other; stop at the first that fails or is not good enough.
#
#   examples/fail_fast.sh paths clips/*.mp4
#
# Exit codes of every command: 0 done, 1 failed, 2 wrong usage, 3 done but below the quality asked for, 130 interrupted.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 OUT RECORDING..." >&2
  exit 2
fi
out=$1
shift

for recording in "$@"; do
  name=$(basename "$recording")
  status=0
  cv3d odometry "$recording" -o "$out/${name%.*}" --quiet \
    --require 'tracked_fraction>=0.9' --require 'segments<=1' || status=$?
  case $status in
    0) echo "$recording: good" ;;
    3) echo "$recording: not good enough, stopped; see $out/${name%.*}/report.html" >&2 && exit 3 ;;
    *) echo "$recording: failed, stopped" >&2 && exit "$status" ;;
  esac
done
