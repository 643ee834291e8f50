#!/usr/bin/env bash
# Measures the reliability figures and writes docs/measurements/chaos.json after every run; started again, it goes on where it was.
#   tests/chaos/run.sh [--small | --full | --nightly] [--only PREFIX]
# --full (default): each scenario once or 10 times; --nightly: 5 times as often, the failpoints 100 times, into chaos-nightly.json.
# A soak of an hour: build/release/tests/chaos/chaos soak --seconds 3600
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${NABLA_BUILD:-build/release}
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
cmake --build "$build" --target chaos disk_shim
effort=--full out=docs/measurements/chaos.json
case ${1:-} in
  --small | --full | --nightly) effort=$1; shift ;;
esac
if [[ $effort != --full ]]; then out=docs/measurements/chaos-${effort#--}.json; fi
"$build/tests/chaos/chaos" measure "$effort" --out "$out" "$@"
echo "written: $out"
