#!/usr/bin/env bash
# Show how far a command is, the way another program would: by its events. Needs jq.
#
#   examples/watch_progress.sh odometry clip.mov -o walk > result.json
#
# 'cv3d schema progress' describes the events. Standard output and the exit code are the command's own.
set -euo pipefail

show='
  if .event == "progress" then
    "\(.stage): \(.done)\(if .total then " of \(.total)" else "" end)"
    + (if .left_s then ", \(.left_s | round) s left" else "" end)
  elif .event == "warning" then "warning: \(.message)"
  elif .event == "error" then "error: \(.message)"
  else empty end
'
{ cv3d "$@" --json --progress json 2>&1 >&3 | jq --unbuffered -r "$show" >&2; } 3>&1
