#pragma once

#include <chrono>
#include <stop_token>
#include <string>

namespace nabla {

// RUN/endpoints.json: where the learner listens.
struct Endpoints {
  std::string run_id, control, weights;
  std::int64_t pid = 0;
  std::string key_file = {};  // of actors on the learner's machine, where it has keys
};

void write_endpoints(const std::string& run_dir, const Endpoints& endpoints);  // atomic
void remove_endpoints(const std::string& run_dir);                             // nobody listens there any more; fine if there is no file
// From a run folder (waits for the file up to the deadline; network_error naming the folder, failure once stop is requested) or an address
// "tcp://host:port" / "ipc://path".
Endpoints resolve_endpoints(const std::string& run_or_address, std::chrono::seconds deadline, const std::stop_token& stop = {});
// The control address that it says now; empty if there is nothing to read.
std::string control_endpoint_now(const std::string& run_or_address);
// A private 0700 folder for ipc sockets, nabla-<short id> under XDG_RUNTIME_DIR or /tmp; paths stay under 107 bytes.
std::string make_ipc_folder(const std::string& run_id);

}  // namespace nabla
