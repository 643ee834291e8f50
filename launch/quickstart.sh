#!/usr/bin/env bash
# From nothing to pictures: installs and builds what is missing, then fine-tunes the embedded pocket model with actors and a learner.
# Arguments go to nabla train, for example: launch/quickstart.sh seed=2 training.updates=50
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  --help | -h)
    echo "Usage: launch/quickstart.sh [key=value ...]    settings for nabla train; launch/setup.sh --help has those of the installation"
    exit 0 ;;
esac

launch/setup.sh --target nabla
status=0
start=$(mktemp)
trap 'rm -f "$start"' EXIT
build/release/nabla train --config configs/pocket.yaml "$@" || status=$?

# The run folder: the one named on the command line, else the newest.
run=''
for argument in "$@"; do
  case $argument in
    run.dir=* | --config.run.dir=*) run=${argument#*run.dir=} ;;
  esac
done
if [[ -z $run ]]; then
  # shellcheck disable=SC2012  # our own folder names
  run=$(ls -1td runs/*/latest 2>/dev/null | head -n 1 || true)
fi
for page in gallery.png report.html; do
  # Pages of an older run are none of this one.
  if [[ -n $run && $run/$page -nt $start ]]; then echo "$page: $(realpath "$run/$page")"; fi
done
exit "$status"
