#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace nabla {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LoggingOptions {
  std::string role = "nabla";        // learner, actor, train, ...
  int number = 0;                    // which of its role
  std::string run_folder = {};       // also writes RUN/logs/{role}-{number}.log (appended); empty: no file
  LogLevel level = LogLevel::kInfo;  // of the file, and of the console unless quiet
  bool quiet = false;                // console: warnings and errors only
  bool json = false;                 // one JSON object a line instead of text, on the console and in the file
};

// Sets up this process's log; call it once, before other threads log. Lines of before go to the console as text.
// failure() if the log file cannot be opened.
void init_logging(const LoggingOptions& options);

// Writes one line to stderr and the log file, at once. Thread safe. The templates below are the way in.
void log_line(LogLevel level, const std::string& message);
bool log_enabled(LogLevel level);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug)) log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nabla
