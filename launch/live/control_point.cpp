#include "launch/live/control_point.h"

#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/network_address.h"
#include "launch/http/http_client.h"
#include "launch/machine.h"
#include "launch/process_identity.h"
#include "protocol/endpoints.h"

#include <unistd.h>

#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxFile = 64 * 1024;

std::string file_of(const std::string& run_dir, const std::string& role) { return fmt::format("{}/control/{}.json", run_dir, role); }

}  // namespace

std::optional<ControlPoint> read_control_point(const std::string& run_dir, const std::string& role) {
  const std::string file = file_of(run_dir, role);
  if (!fs::exists(file)) return std::nullopt;
  nlohmann::ordered_json json;
  try {
    json = read_json(file, kMaxFile);
  } catch (const Error&) {
    if (!fs::exists(file)) return std::nullopt;  // the run ended just now
    throw;
  }
  try {
    return ControlPoint{json.at("role").get<std::string>(), json.at("host").get<std::string>(), json.at("socket").get<std::string>(),
                        json.at("http").get<std::string>(), json.at("pid").get<std::int64_t>(), json.value("birth", "")};
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[control] '{}' does not say how to talk to the {}: {}", file, role, error.what());
  }
}

bool may_be_alive(const ControlPoint& point) { return point.host != name_of_this_machine() || is_same_process(point.pid, point.birth); }

namespace {

// An address of all interfaces is one of that machine.
std::string reachable(const ControlPoint& point) {
  const std::size_t colon = point.http.rfind(':');
  const std::string host = point.http.substr(0, colon);
  return host == "0.0.0.0" || host == "[::]" ? point.host + point.http.substr(colon) : point.http;
}

}  // namespace

HttpResponse call(const ControlPoint& point, const std::string& method, const std::string& target, std::chrono::milliseconds deadline) {
  if (point.host == name_of_this_machine()) return call_http(fmt::format("unix:{}", point.socket), method, target, deadline);
  if (method == "GET" && !point.http.empty() && !is_loopback(point.http))
    return call_http(fmt::format("http://{}", reachable(point)), method, target, deadline);
  throw network_error("[control] the {} runs on {}; call nabla there{}", point.role, point.host,
                      method == "GET" ? ", or start the run with http.bind at an address that this machine reaches" : "");
}

SocketFolder::SocketFolder(const std::string& run_id) : path(make_ipc_folder(run_id)) {}

SocketFolder::~SocketFolder() {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

ControlService::ControlService(const RunFolder& folder, const std::string& role, std::vector<HttpRoute> routes,
                               const std::string& tcp_address)
    : file_(file_of(folder.path, role)), folder_(folder.run_id) {
  const std::string socket = folder_.path + "/http";
  server_.emplace(HttpServerOptions{.routes = std::move(routes), .socket_path = socket, .tcp_address = tcp_address});
  fs::create_directories(fs::path(file_).parent_path());
  write_json(file_, {{"role", role},
                     {"host", name_of_this_machine()},
                     {"pid", getpid()},
                     {"birth", birth_of(getpid())},
                     {"socket", socket},
                     {"http", server_->tcp_address()}});
  if (tcp_address.empty()) return;
  log_info("status and metrics: http://{}/status, /metrics", server_->tcp_address());
  if (!is_loopback(server_->tcp_address()))
    log_warning("http.bind {}: whoever reaches that address reads the run's status; nobody can change anything there", tcp_address);
}

ControlService::~ControlService() {
  std::error_code ignored;
  fs::remove(file_, ignored);
  fs::remove(fs::path(file_).parent_path(), ignored);  // once it is empty
}

}  // namespace nabla
