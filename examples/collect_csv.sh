#!/usr/bin/env bash
# One line of CSV for each recording, out of the result.json files that cv3d odometry leaves. Needs jq.
#
#   examples/collect_csv.sh paths/*/result.json > paths.csv
#
# 'cv3d schema odometry' says what other fields there are, and their units.
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: $0 RESULT.json..." >&2
  exit 2
fi

jq -r -n '
  ["source", "frames", "tracked_fraction", "path_length", "scale", "p95_ms", "ate_rmse_m"],
  (inputs | select(.schema == "cv3d.odometry/1")
    | [.source, .frames, .tracked_fraction, .path_length, .scale, .ms.p95, .truth.ate.rmse_m])
  | @csv
' "$@"
