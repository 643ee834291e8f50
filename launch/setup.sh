#!/usr/bin/env bash
# Installs what is missing and builds build/release. Each step is skipped where it is already done, so a second call only asks ninja.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

usage() {
  cat <<'TEXT'
Usage: launch/setup.sh [options]
Installs Debian packages and LibTorch (into .venv), then configures and builds build/release.

  --cpu              CPU build: the slim LibTorch set
  --cuda             CUDA build: the full set (default where nvcc or a GPU is found; the last choice is remembered)
  --offline FOLDER   take the wheels from FOLDER and install no packages
  --no-build         stop before configuring
  --target NAME      build one target instead of all (nabla: without the tests)
  --jobs N           compile jobs (default: cores, bounded by memory)
  --dry-run          say what would be done, do nothing
  --help             this text

NABLA_TORCH_DIR=FOLDER uses an existing torch 2.11 (a venv, a conda environment or the torch package folder); nothing is downloaded then.

Examples:
  launch/setup.sh
  NABLA_TORCH_DIR=$HOME/miniconda3/envs/sd launch/setup.sh --cpu
TEXT
}

say() { printf '[setup] %s\n' "$*"; }
stop() { printf '[setup] %s\n' "$*" >&2; exit 1; }
refuse() { printf '[setup] %s\n' "$*" >&2; exit 2; }

choice='' wheelhouse='' target=all jobs='' build=yes dry_run=no
while (($#)); do
  case $1 in
    --offline | --target | --jobs) (($# > 1)) || refuse "$1 needs a value; see launch/setup.sh --help" ;;&
    --cpu | --cuda) choice=${1#--} ;;
    --offline) wheelhouse=$2; shift ;;
    --target) target=$2; shift ;;
    --jobs) jobs=$2; shift ;;
    --no-build) build=no ;;
    --dry-run) dry_run=yes ;;
    --help | -h) usage; exit 0 ;;
    *) refuse "unknown option '$1'; see launch/setup.sh --help" ;;
  esac
  shift
done
[[ -z $wheelhouse || -d $wheelhouse ]] || refuse "--offline: '$wheelhouse' is no folder"
[[ -z $jobs || $jobs =~ ^[1-9][0-9]*$ ]] || refuse "--jobs: '$jobs' is no positive number"

nvcc_found() { command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]]; }

# cpu or cuda: the choice, else what the machine has.
wheel_set() {
  if [[ -n $choice ]]; then
    echo "$choice"
  elif nvcc_found || [[ -e /dev/nvidia0 ]]; then
    echo cuda
  else
    echo cpu
  fi
}

# shellcheck disable=SC2016  # dpkg-query's own ${} fields
missing_packages() {
  command -v dpkg-query >/dev/null || return 0
  grep -v '^#' launch/packages.txt | sort >"$scratch/wanted"
  xargs dpkg-query -W -f '${Package} ${db:Status-Status}\n' <"$scratch/wanted" 2>/dev/null |
    awk '$2 == "installed" {print $1}' | sort -u >"$scratch/installed" || true
  comm -23 "$scratch/wanted" "$scratch/installed" | xargs
}

fingerprint() {
  if [[ $1 == cuda ]]; then
    echo "cuda $(cat launch/requirements.txt launch/requirements-cuda.txt | sha256sum | cut -c1-32)"
  else
    echo "cpu $(sha256sum <launch/requirements.txt | cut -c1-32)"
  fi
}

# The full set serves a CPU build too.
wheels_ready() {
  [[ -f .venv/nabla-wheels && -n $(compgen -G '.venv/lib/python3*/site-packages/torch/lib/libtorch_cpu.so') ]] || return 1
  local have
  have=$(<.venv/nabla-wheels)
  [[ $have == "$(fingerprint "$kind")" || $have == "$(fingerprint cuda)" ]]
}

# The requirement files hold hashes for these versions of Python.
find_python() {
  local candidate
  for candidate in python3 /usr/bin/python3 python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  stop "no python3 of version 3.11, 3.12 or 3.13 with venv; on Debian 12: apt-get install python3-venv, or set NABLA_TORCH_DIR"
}

install_packages() {
  say "installing Debian packages: $missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # shellcheck disable=SC2086  # a list of words
  apt-get install -y -q --no-install-recommends $missing
}

install_wheels() {
  local requirements=launch/requirements.txt from=()
  [[ $kind == cpu ]] || requirements=launch/requirements-cuda.txt
  [[ -z $wheelhouse ]] || from=(--no-index --find-links "$wheelhouse")
  if [[ ! -x .venv/bin/python ]]; then
    "$(find_python)" -m venv .venv
  fi
  rm -f .venv/nabla-wheels
  .venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-compile --require-hashes "${from[@]}" -r "$requirements"
  fingerprint "$kind" >.venv/nabla-wheels
}

default_jobs() {
  local memory_gib cores
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)  # nproc believes OpenMP's variables
  memory_gib=$(awk '/^MemTotal/ {print int($2 / 1048576)}' /proc/meminfo)
  # A compile job takes up to 1.3 GB.
  local fit=$((memory_gib / 2 > 0 ? memory_gib / 2 : 1))
  echo $((cores < fit ? cores : fit))
}

# From nothing, at the 5 s a source and core that build machines take; without the tests where only nabla is built.
build_minutes() {
  local folders=(common protocol actors learner launch)
  [[ $target == nabla ]] || folders+=(tests)
  local sources
  sources=$(find "${folders[@]}" -name '*.cpp' | wc -l)
  echo $((sources * 5 / jobs / 60 + 1))
}

configure() {
  local cuda=AUTO settings
  if [[ $kind == cpu ]]; then cuda=OFF; fi
  if [[ $choice == cuda ]] && nvcc_found; then cuda=ON; fi
  settings="-DNABLA_CUDA=$cuda -DNABLA_TORCH_DIR=${NABLA_TORCH_DIR:-}"
  if [[ $wheels == no && -f build/release/build.ninja && -f build/release/nabla-settings ]]; then
    [[ $(<build/release/nabla-settings) != "$settings" ]] || return 0
  fi
  cmake --preset release -DNABLA_CUDA=$cuda "-DNABLA_TORCH_DIR=${NABLA_TORCH_DIR:-}"
  echo "$settings" >build/release/nabla-settings
}

[[ -n $choice || ! -f build/setup-choice ]] || choice=$(<build/setup-choice)
[[ -n $jobs ]] || jobs=$(default_jobs)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
kind=$(wheel_set)
missing=$(missing_packages)
wheels=no
[[ -n ${NABLA_TORCH_DIR:-} ]] || wheels_ready || wheels=yes

command -v dpkg-query >/dev/null || say "no dpkg here: install the libraries of launch/packages.txt yourself"
[[ -z $missing ]] || say "Debian packages to install: $missing"
if [[ $wheels == yes && $kind == cuda ]]; then
  say "LibTorch 2.11.0, full CUDA set: 2.5 GB to download, 3.8 GB on disk in .venv, a minute or two (--cpu: 0.5 GB)"
elif [[ $wheels == yes ]]; then
  say "LibTorch 2.11.0, CPU set: 0.5 GB to download, 1.2 GB on disk in .venv, under a minute"
fi
if [[ $build == yes && ! -f build/release/build.ninja ]]; then
  say "first build of build/release: about $(build_minutes) minutes with $jobs jobs"
fi
if [[ $kind == cuda ]] && ! nvcc_found; then
  say "a GPU but no nvcc: the build stays on the CPU until a CUDA 13 toolkit is on PATH (or in CUDA_HOME)"
fi
if [[ $dry_run == yes ]]; then
  [[ $build == no ]] || say "would configure and build target '$target' in build/release"
  exit 0
fi

if [[ -n $missing ]]; then
  [[ -z $wheelhouse ]] || stop "--offline installs no packages; missing: $missing"
  [[ $(id -u) == 0 ]] || stop "these packages are missing: $missing. Run: sudo apt-get install --no-install-recommends $missing"
  install_packages
fi
[[ $wheels == no ]] || install_wheels
mkdir -p build
[[ -z $choice ]] || echo "$choice" >build/setup-choice
[[ $build == yes ]] || exit 0
configure
cmake --build --preset release --target "$target" -j "$jobs"
