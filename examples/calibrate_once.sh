#!/usr/bin/env bash
# Calibrate once, for all that comes after. A second run with the same pictures finds it done.
#
#   camera=$(examples/calibrate_once.sh photos/ calibration --square 25mm)
#
# What follows the two folders is handed on to cv3d calibrate. Prints the camera's file. Ends with 3 where the result is
# not good enough, and with 1 where there is none.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 PICTURES OUT [OPTION...]" >&2
  exit 2
fi
pictures=$1 out=$2
shift 2

cv3d calibrate "$pictures" -o "$out" --require 'rms<0.5' --quiet "$@"
echo "$out/camera.json"
