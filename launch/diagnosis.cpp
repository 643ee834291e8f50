#include "launch/diagnosis.h"

#include "actors/workbench.h"
#include "common/device/device.h"
#include "common/files.h"
#include "common/prompt_source.h"
#include "launch/machine.h"
#include "launch/version.h"
#include "protocol/endpoints.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr std::uint64_t kLittleMemory = std::uint64_t{1} << 30, kTooLittleMemory = std::uint64_t{256} << 20;
constexpr std::uint64_t kLittleDisk = std::uint64_t{2} << 30, kTooLittleDisk = std::uint64_t{64} << 20;
constexpr std::uint64_t kFewFiles = 1024, kTooFewFiles = 128;

Finding failed(const std::string& subject, const std::string& text, const std::string& advice, ExitCode code = ExitCode::kFailure) {
  return {Verdict::kFailed, subject, text, advice, code};
}

// The worse verdict the lower a number is.
Verdict judge_least(std::uint64_t value, std::uint64_t few, std::uint64_t too_few) {
  if (value < too_few) return Verdict::kFailed;
  return value < few ? Verdict::kWarning : Verdict::kOk;
}

Finding check_build() {
  std::string text;
  for (const auto& [name, value] : version_facts()) {
    if (name != "cuda") text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  }
  return {Verdict::kOk, "build", text};
}

Finding check_devices(const RunConfig& config) {
  const DeviceReport report = cuda_devices();
  try {
    parse_device(config.actors.device, "actors.device");
    parse_device(config.learner.device, "learner.device");
  } catch (const Error& error) {
    return failed("devices", error.what(), "set actors.device and learner.device to cpu, or to a device of this machine");
  }
  if (report.built_with_cuda && report.count == 0) {
    return {Verdict::kWarning, "devices", "CPU only: " + report.description,
            "runs use the CPU; for a GPU look whether nvidia-smi lists one"};
  }
  return {Verdict::kOk, "devices", report.count > 0 ? "CPU, " + report.description : "CPU only: " + report.description};
}

// RUN's folder, or the folder in which runs are made.
std::string runs_folder(const RunConfig& config) { return config.run.dir.empty() ? "runs/" + config.run.name : config.run.dir; }

Finding check_runs_folder(const RunConfig& config) {
  const std::string folder = nearest_existing_folder(runs_folder(config));
  const std::string probe = fmt::format("{}/.nabla-doctor-{}", folder, make_short_id());
  try {
    write_file(probe, "written by nabla doctor\n");
  } catch (const Error& error) {
    return failed("runs folder", error.what(), "choose another folder with run.dir, or make this one writable");
  }
  std::error_code ignored;
  fs::remove(probe, ignored);
  return judge_disk(folder, free_disk_bytes(folder));
}

std::string bind_fault(int family, const sockaddr* address, socklen_t size) {
  const int descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return std::strerror(errno);
  const bool bound = ::bind(descriptor, address, size) == 0 && ::listen(descriptor, 1) == 0;
  const std::string fault = bound ? "" : std::strerror(errno);
  ::close(descriptor);
  return fault;
}

// Binds where a run would: a socket in a private folder.
Finding check_local_sockets() {
  std::string folder, fault;
  try {
    folder = make_ipc_folder(make_run_id());
  } catch (const Error& error) {
    return failed("local sockets", error.what(), "set XDG_RUNTIME_DIR to a writable folder with a short path");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder + "/control.sock";
  std::copy_n(path.begin(), std::min(path.size(), sizeof(address.sun_path) - 1), address.sun_path);
  fault = bind_fault(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (!fault.empty())
    return failed("local sockets", fmt::format("cannot bind in '{}': {}", folder, fault), "set XDG_RUNTIME_DIR to another folder");
  return {Verdict::kOk, "local sockets", "in " + fs::path(folder).parent_path().string()};
}

// The address of fleet.bind, or any port of the loopback.
Finding check_port(const RunConfig& config) {
  std::string host = "127.0.0.1", port = "0";
  if (const std::string& bind = config.fleet.bind; bind.starts_with("tcp://")) {
    const std::size_t colon = bind.rfind(':');
    host = bind.substr(6, colon - 6);
    port = bind.substr(colon + 1) == "*" ? "0" : bind.substr(colon + 1);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port.c_str())));
  if (host == "localhost") host = "127.0.0.1";
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return {Verdict::kOk, "port", fmt::format("'{}' is not checked", host)};
  const std::string fault = bind_fault(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const std::string name = port == "0" ? fmt::format("a free port of {}", host) : fmt::format("{}:{}", host, port);
  if (!fault.empty())
    return failed("port", fmt::format("cannot bind {}: {}", name, fault), "choose another fleet.bind, such as tcp://127.0.0.1:*");
  return {Verdict::kOk, "port", name + " can be bound"};
}

Finding check_model(const RunConfig& config) {
  try {
    const Workbench bench = make_workbench(config);
    return {Verdict::kOk, "model",
            fmt::format("'{}' and reward {} load; digest {}", config.pretrained.model, config.experiment.reward_fn, bench.base_digest)};
  } catch (const std::exception& error) {
    return failed("model", error.what(), "set pretrained.model, experiment.reward_model and eval.checker to complete files",
                  ExitCode::kData);
  }
}

Finding check_prompts(const RunConfig& config) {
  try {
    const RunPrompts prompts = open_prompts(config);
    return {Verdict::kOk, "prompts", fmt::format("{} to train on, {} to judge by", prompts.training.size(), prompts.evaluation.size())};
  } catch (const std::exception& error) {
    return failed("prompts", error.what(), "set experiment.prompt_fn, experiment.prompt_file and eval.prompt_file", ExitCode::kData);
  }
}

}  // namespace

Finding judge_threads(const RunConfig& config, double cores) {
  const std::int64_t threads = config.actors.count * config.actors.threads + config.learner.ranks * config.learner.threads;
  const std::string text = fmt::format("{} threads ({} actors of {}, {} learner of {}) on {:.4g} cores", threads, config.actors.count,
                                       config.actors.threads, config.learner.ranks, config.learner.threads, cores);
  // The learner mostly waits while actors sample, so that one process more than cores is well.
  const auto spare = static_cast<double>(config.learner.ranks * config.learner.threads);
  if (static_cast<double>(threads) <= cores + spare) return {Verdict::kOk, "threads", text};
  return {Verdict::kWarning, "threads", text, "lower actors.count or actors.threads: threads beyond the cores only wait for each other"};
}

Finding judge_memory(std::uint64_t available_bytes) {
  return {judge_least(available_bytes, kLittleMemory, kTooLittleMemory), "memory",
          fmt::format("{:.1f} GiB available", static_cast<double>(available_bytes) / kGiB),
          available_bytes < kLittleMemory ? "end other programs, or take fewer actors and smaller tickets (actors.count, fleet.ticket_size)"
                                          : ""};
}

Finding judge_open_files(std::uint64_t limit) {
  return {judge_least(limit, kFewFiles, kTooFewFiles), "open files", fmt::format("at most {}", limit),
          limit < kFewFiles ? "raise it with `ulimit -n 4096` before the run; each actor takes a few" : ""};
}

Finding judge_disk(const std::string& folder, std::uint64_t free_bytes) {
  return {judge_least(free_bytes, kLittleDisk, kTooLittleDisk), "runs folder",
          fmt::format("'{}' is writable, {:.1f} GiB free", folder, static_cast<double>(free_bytes) / kGiB),
          free_bytes < kLittleDisk ? "free some space or choose another folder with run.dir; a run ends when its disk is full" : ""};
}

std::vector<Finding> diagnose_machine(const RunConfig& config) {
  return {check_build(),
          check_devices(config),
          judge_threads(config, usable_cores()),
          judge_memory(available_memory_bytes()),
          judge_open_files(open_file_limit()),
          check_runs_folder(config),
          check_local_sockets(),
          check_port(config)};
}

std::vector<Finding> diagnose_run(const RunConfig& config) { return {check_model(config), check_prompts(config)}; }

std::string finding_text(const Finding& finding) {
  constexpr const char* kNames[] = {"ok", "warning", "failed"};
  std::string text = fmt::format("{:<8} {:<14} {}\n", kNames[static_cast<int>(finding.verdict)], finding.subject, finding.text);
  if (!finding.advice.empty()) text += fmt::format("{:<24}{}\n", "", finding.advice);
  return text;
}

ExitCode exit_code_of(const std::vector<Finding>& findings) {
  ExitCode code = ExitCode::kOk;
  for (const auto& finding : findings) {
    if (finding.verdict != Verdict::kFailed) continue;
    if (code != ExitCode::kData) code = finding.code;
  }
  return code;
}

}  // namespace nabla
