#!/usr/bin/env bash
# Installs what is missing, builds build/release and runs every test. Arguments go to ctest, for example: tests/run.sh -R protocol
#   --format      check the formatting of all C++ sources instead
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --format ]]; then
  command -v clang-format >/dev/null || { echo "[tests] --format needs clang-format: apt-get install clang-format" >&2; exit 1; }
  git ls-files -z '*.h' '*.cpp' '*.cu' | xargs -0 clang-format --dry-run --Werror
  echo "[tests] formatting is clean"
  exit 0
fi

launch/setup.sh
# Several test processes share the cores: one thread each, and no spinning while they wait. (nproc believes OpenMP's variables.)
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_WAIT_POLICY=passive
ctest --test-dir build/release --output-on-failure --no-tests=error -j "$cores" "$@"
