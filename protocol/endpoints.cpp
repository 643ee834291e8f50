#include "protocol/endpoints.h"

#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/pause.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kLookAgain{50};
constexpr std::chrono::seconds kReportEvery{5};
// Leaves room for "/control.sock" and "/weights.sock" within the 107 bytes of a socket path.
constexpr std::size_t kMaxFolder = 90;

std::string file_in(const std::string& run_dir) { return (std::filesystem::path(run_dir) / "endpoints.json").string(); }

Endpoints read_endpoints(const std::string& path) {
  const auto json = read_json(path, 64 * 1024);
  try {
    Endpoints endpoints;
    endpoints.run_id = json.at("run_id").get<std::string>();
    endpoints.control = json.at("control").get<std::string>();
    endpoints.weights = json.at("weights").get<std::string>();
    endpoints.pid = json.at("pid").get<std::int64_t>();
    endpoints.key_file = json.value("key_file", "");
    return endpoints;
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[endpoints] '{}' is not a learner's address file: {}", path, error.what());
  }
}

bool is_private_folder(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && ::access(path.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

void write_endpoints(const std::string& run_dir, const Endpoints& endpoints) {
  nlohmann::ordered_json json;
  json["run_id"] = endpoints.run_id;
  json["control"] = endpoints.control;
  json["weights"] = endpoints.weights;
  json["pid"] = endpoints.pid;
  if (!endpoints.key_file.empty()) json["key_file"] = endpoints.key_file;
  write_json(file_in(run_dir), json);
}

void remove_endpoints(const std::string& run_dir) {
  std::error_code ignored;
  std::filesystem::remove(file_in(run_dir), ignored);
}

Endpoints resolve_endpoints(const std::string& run_or_address, std::chrono::seconds deadline, const std::stop_token& stop) {
  if (run_or_address.starts_with("tcp://") || run_or_address.starts_with("ipc://")) {
    Endpoints endpoints;
    endpoints.control = run_or_address;
    return endpoints;
  }
  if (run_or_address.find("://") != std::string::npos) {
    throw usage_error("[endpoints] '{}' is no address; expected a run folder, tcp://HOST:PORT or ipc://PATH", run_or_address);
  }
  const std::string path = file_in(run_or_address);
  if (std::filesystem::exists(std::filesystem::path(run_or_address) / "summary.json") && !std::filesystem::exists(path)) {
    throw network_error("[endpoints] the run in '{}' has ended; nabla replay trains from its queue", run_or_address);
  }
  const auto start = std::chrono::steady_clock::now(), give_up = start + deadline;
  auto report = start + kReportEvery;
  while (!std::filesystem::exists(path)) {
    if (std::chrono::steady_clock::now() >= report) {
      log_info("no learner has written '{}' yet; waiting up to {} s", path, deadline.count());
      report += kReportEvery;
    }
    if (stop.stop_requested()) throw failure("[endpoints] stopped while waiting for '{}'", path);
    if (std::chrono::steady_clock::now() >= give_up) {
      throw network_error("[endpoints] no learner has written '{}' within {} s; is the folder right and the learner running?", path,
                          deadline.count());
    }
    pause_until(std::chrono::steady_clock::now() + kLookAgain, stop);
  }
  return read_endpoints(path);
}

std::string control_endpoint_now(const std::string& run_or_address) {
  try {
    return resolve_endpoints(run_or_address, std::chrono::seconds(0)).control;
  } catch (const std::exception&) {
    return "";  // the learner is away, or the folder cannot be read just now
  }
}

std::string make_ipc_folder(const std::string& run_id) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string base = runtime != nullptr ? runtime : "";
  if (base.empty() || base[0] != '/' || base.size() + sizeof("/nabla-00000000") > kMaxFolder || !is_private_folder(base)) base = "/tmp";
  const std::size_t dash = run_id.rfind('-');
  std::string short_id = dash == std::string::npos ? std::string() : run_id.substr(dash + 1);
  if (short_id.empty() || short_id.size() > 12 || short_id.find('/') != std::string::npos) short_id = make_short_id();
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::string folder = base + "/nabla-" + short_id;
    if (::mkdir(folder.c_str(), 0700) == 0) return folder;
    // Somebody's folder, perhaps another user's: never shared.
    if (errno != EEXIST) throw failure("[endpoints] cannot make the socket folder '{}': {}", folder, std::strerror(errno));
    short_id = make_short_id();
  }
  throw failure("[endpoints] cannot find a free name for a socket folder in '{}'", base);
}

}  // namespace nabla
