#pragma once

#include "launch/http/http_message.h"
#include "launch/http/http_server.h"
#include "launch/run_folder.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// RUN/control/<role>.json: how a live process of a run is talked to. Roles: "learner", "train".
struct ControlPoint {
  std::string role, host, socket, http;  // http: address of its TCP server, empty if it has none
  std::int64_t pid = 0;
  std::string birth = {};  // of the process (process_identity.h)
};

// What the process left behind, dead or alive; nothing if there is no such file. data_error where the file is damaged.
std::optional<ControlPoint> read_control_point(const std::string& run_dir, const std::string& role);
// False once its process has ended, whoever has its number now; true for one on another machine, which cannot be known.
bool may_be_alive(const ControlPoint& point);
// Over the socket, and from another machine over TCP. network_error when nobody answers.
HttpResponse call(const ControlPoint& point, const std::string& method, const std::string& target, std::chrono::milliseconds deadline);

// A private folder for a socket; gone with this object.
struct SocketFolder {
  explicit SocketFolder(const std::string& run_id);
  ~SocketFolder();
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;
  const std::string path;
};

// Serves routes on a socket in a private folder, and the read-only ones at `tcp_address` unless that is empty; RUN/control/<role>.json
// says where as long as it lives.
class ControlService {
 public:
  ControlService(const RunFolder& folder, const std::string& role, std::vector<HttpRoute> routes, const std::string& tcp_address = "");
  ~ControlService();
  ControlService(const ControlService&) = delete;
  ControlService& operator=(const ControlService&) = delete;

 private:
  std::string file_;
  SocketFolder folder_;
  std::optional<HttpServer> server_;
};

}  // namespace nabla
