#pragma once

#include "common/config/run_config.h"
#include "protocol/curve.h"

#include <string>

namespace nabla {

// What security.keys names.
struct RunKeys {
  ServerKeys server;
  std::string actor_key_file;  // of actors on this machine, absolute
};

// Only for a run with security.keys; data_error naming the file that is no key. Called before a run folder is made, so that bad keys leave nothing behind.
RunKeys read_run_keys(const RunConfig& config);

}  // namespace nabla
