#!/usr/bin/env bash
# Measures the reliability figures and writes docs/measurements/reliability.json after every run; started again, it goes on where it was.
#   tests/chaos/run.sh [--small | --full | --nightly] [--only PREFIX] [--budget SECONDS]
# --full (default): each case 1, 3 or 10 times, first each once; --nightly: 5 times as often, the failpoints 100 times. Other efforts than the full one write
# docs/measurements/reliability-EFFORT.json. --budget: nothing begins after so many seconds.
# A soak of an hour: build/release/tests/chaos/chaos soak --seconds 3600 --out docs/measurements/reliability.json
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${NABLA_BUILD:-build/release}
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
cmake --build "$build" --target chaos
effort=--full out=docs/measurements/reliability.json
case ${1:-} in
  --small | --full | --nightly) effort=$1; shift ;;
esac
if [[ $effort != --full ]]; then out=docs/measurements/reliability-${effort#--}.json; fi
"$build/tests/chaos/chaos" measure "$effort" --out "$out" "$@"
echo "written: $out"
