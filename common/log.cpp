#include "common/log.h"

#include "common/error.h"

#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

constexpr const char* kTextPattern = "%Y-%m-%d %H:%M:%S.%e %n %l: %v";

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string view_string(spdlog::string_view_t view) { return {view.data(), view.size()}; }

// A pattern cannot escape the message, so JSON lines have a formatter of their own.
class JsonLineFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    nlohmann::ordered_json object;
    object["time"] = std::chrono::duration<double>(message.time.time_since_epoch()).count();
    object["level"] = view_string(spdlog::level::to_string_view(message.level));
    object["role"] = view_string(message.logger_name);
    object["message"] = view_string(message.payload);
    const std::string text = object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    line.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonLineFormatter>(); }
};

std::shared_ptr<spdlog::logger> make_logger(const LoggingOptions& options) {
  auto console = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  console->set_level(options.quiet ? spdlog::level::warn : spdlog_level(options.level));
  std::vector<spdlog::sink_ptr> sinks{console};
  if (!options.run_folder.empty()) {
    const std::string path = fmt::format("{}/logs/{}-{}.log", options.run_folder, options.role, options.number);
    try {
      std::filesystem::create_directories(options.run_folder + "/logs");
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    } catch (const std::exception& error) {
      throw failure("[log] cannot open '{}': {}", path, error.what());
    }
  }
  auto logger = std::make_shared<spdlog::logger>(fmt::format("{}-{}", options.role, options.number), sinks.begin(), sinks.end());
  if (options.json) {
    logger->set_formatter(std::make_unique<JsonLineFormatter>());
  } else {
    logger->set_pattern(kTextPattern);
  }
  logger->set_level(spdlog_level(options.level));
  logger->flush_on(spdlog::level::debug);
  return logger;
}

// The process's logger: the one thing here that outlives calls, because a line may come from anywhere.
std::shared_ptr<spdlog::logger>& process_logger() {
  static std::shared_ptr<spdlog::logger> logger = make_logger({});
  return logger;
}

}  // namespace

void init_logging(const LoggingOptions& options) { process_logger() = make_logger(options); }

bool log_enabled(LogLevel level) { return process_logger()->should_log(spdlog_level(level)); }

void log_line(LogLevel level, const std::string& message) {
  process_logger()->log(spdlog_level(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace nabla
