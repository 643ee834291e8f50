#include "launch/run_keys.h"

#include "protocol/keys.h"

#include <fmt/format.h>

#include <filesystem>

namespace nabla {

RunKeys read_run_keys(const RunConfig& config) {
  const std::string folder = std::filesystem::absolute(config.security.keys).string();
  return {.server = read_server_keys(config.security.keys), .actor_key_file = fmt::format("{}/actors/{}.key", folder, kLocalActor)};
}

}  // namespace nabla
