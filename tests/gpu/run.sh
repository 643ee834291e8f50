#!/usr/bin/env bash
# Builds and runs every check that needs a GPU. Writes gpu-<date>.json to $OUT if set, else to docs/measurements.
# Without a GPU it says so and exits 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped: no GPU"
  exit 0
fi

# A machine for measurements often has torch already.
if [[ -z ${NABLA_TORCH_DIR:-} && ! -d .venv ]]; then
  NABLA_TORCH_DIR=$(python3 -c 'import torch; print(torch.__path__[0] if torch.__version__.startswith("2.11.") else "")' 2>/dev/null || true)
  export NABLA_TORCH_DIR
fi
launch/setup.sh --cuda --target device_tests
launch/setup.sh --cuda --target gpu_checks

out=${OUT:-docs/measurements}
mkdir -p "$out"
date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
status=0
tests=passed
build/release/tests/device/device_tests || { tests=failed; status=1; }
checks=$(build/release/tests/gpu/gpu_checks assets/pocket) || status=1
file=$out/gpu-${date%%T*}.json
cat >"$file" <<TEXT
{
  "date": "$date",
  "gpu": "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)",
  "device_tests": "$tests",
  "measurements": ${checks:-null}
}
TEXT
cat "$file"
echo "written: $file"
exit "$status"
