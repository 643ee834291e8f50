#include "launch/console.h"

#include "common/clock.h"
#include "common/log.h"
#include "launch/summary.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace nabla {

namespace {

constexpr int kSmallestTerminal = 40, kLongestBar = 30;

std::optional<double> metric_of(const UpdateReport& report, const std::string& name) {
  const auto found = report.metrics.find(name);
  return found == report.metrics.end() ? std::nullopt : std::optional(found->second);
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// "4m12s", "1h03m", "12s".
std::string duration_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

std::string bar_text(double share, int width) {
  const int filled = static_cast<int>(share * width + 0.5);
  std::string bar = "▕";
  for (int i = 0; i < width; ++i) bar += i < filled ? "█" : " ";
  return bar + "▏ ";
}

std::string metrics_text(const UpdateReport& report) {
  std::string text;
  if (const auto reward = metric_of(report, "reward_mean")) {
    text += fmt::format("  reward {:.2f}", *reward);
    if (const auto deviation = metric_of(report, "reward_std")) text += fmt::format("±{:.2f}", *deviation);
  }
  if (const auto loss = metric_of(report, "loss")) text += fmt::format("  loss {:.1e}", *loss);
  if (const auto lag = metric_of(report, "policy_lag/mean")) text += fmt::format("  lag {:.1f}", *lag);
  if (const auto speed = metric_of(report, "perf/images_per_s")) text += fmt::format("  {:.1f} img/s", *speed);
  return text;
}

int terminal_columns() {
  if (const char* columns = std::getenv("COLUMNS")) {
    if (const int number = std::atoi(columns); number > 0) return number;
  }
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace

std::string progress_line(const RunFacts& facts, const UpdateReport& report, double seconds_an_update, int bar_width) {
  const double share = facts.updates > 0 ? std::clamp(static_cast<double>(report.update) / static_cast<double>(facts.updates), 0.0, 1.0) : 0.0;
  const double left_s = seconds_an_update * static_cast<double>(std::max<std::int64_t>(facts.updates - report.update, 0));
  return fmt::format("update {}/{} {}{:.0f}% ETA {}{}", report.update, facts.updates, bar_width > 0 ? bar_text(share, bar_width) : "", 100.0 * share,
                     seconds_an_update > 0.0 ? duration_text(left_s) : "-", metrics_text(report));
}

std::string evaluation_line(const EvaluationSummary& evaluation) {
  std::string line = fmt::format("update {}: reward {:.2f}±{:.2f}", evaluation.update, evaluation.reward_mean, evaluation.reward_std);
  if (evaluation.has_true_reward) line += fmt::format(", true reward {:.2f}±{:.2f}", evaluation.true_reward_mean, evaluation.true_reward_std);
  if (evaluation.has_checker) line += fmt::format(", diversity {:.3f}, prompt accuracy {:.0f}%", evaluation.diversity, 100.0 * evaluation.prompt_accuracy);
  return line;
}

std::string cut_to_columns(const std::string& text, int columns) {
  int used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_continuation(text[i])) continue;
    if (used == columns) return text.substr(0, i);
    ++used;
  }
  return text;
}

Console::Options Console::detect(Options wanted) {
  wanted.columns = terminal_columns();
  wanted.is_terminal = isatty(STDERR_FILENO) != 0 && wanted.columns >= kSmallestTerminal;
  wanted.color = !is_set("NO_COLOR") && (wanted.is_terminal || is_set("CLICOLOR_FORCE"));
  return wanted;
}

void Console::start(const RunFacts& facts, const std::string& run_dir) {
  facts_ = facts;
  say(fmt::format("run {} in {}", facts.run_id, run_dir));
  say(fmt::format("{} updates of {} slots (trajectories), {} transitions a slot: {} transitions an update", facts.updates, facts.slots_per_update,
                  facts.transitions_per_slot, facts.slots_per_update * facts.transitions_per_slot));
  say(fmt::format("trained parameters: LoRA {}, flow network {}", facts.lora_parameters, facts.flow_parameters));
  if (!facts.control_endpoint.empty()) say(fmt::format("1 learner rank at {}; more actors: nabla actor --connect {}", facts.control_endpoint, run_dir));
}

void Console::wait(const std::string& reason) {
  if (draws_bar()) return draw_bar("waiting: " + reason);
  if (monotonic_seconds() - last_line_s_ < options_.line_every_s) return;
  last_line_s_ = monotonic_seconds();
  say("waiting: " + reason);
}

void Console::update(const UpdateReport& report) {
  if (first_wall_s_ < 0.0) {
    first_wall_s_ = report.wall_s;
    first_update_ = report.update;
  }
  const auto done = static_cast<double>(report.update - first_update_);
  const double seconds_an_update = done > 0.0 ? (report.wall_s - first_wall_s_) / done : 0.0;
  if (draws_bar()) {
    const int bar_width = std::clamp(options_.columns - 90, 8, kLongestBar);
    return draw_bar(progress_line(facts_, report, seconds_an_update, bar_width));
  }
  const bool is_last = report.update >= facts_.updates;
  if (!is_last && monotonic_seconds() - last_line_s_ < options_.line_every_s) return;
  last_line_s_ = monotonic_seconds();
  say(progress_line(facts_, report, seconds_an_update, 0));
}

void Console::evaluation(const EvaluationSummary& evaluation) {
  const std::string line = "evaluation at " + evaluation_line(evaluation);
  say(draws_bar() && options_.color ? "\x1b[1m" + line + "\x1b[0m" : line);
}

void Console::finish(const RunSummary& summary, const std::string& run_dir) {
  clear_bar();
  if (options_.quiet) return;
  if (options_.json) return say(fmt::format("{}: see {}/summary.json", summary.exit_reason, run_dir));
  fmt::print("{}\nrun folder: {} (report.html, gallery.png, summary.json, export/)\n", summary_table(summary), run_dir);
  std::fflush(stdout);
}

// On a terminal the console has its own plain lines; elsewhere they are log lines, which carry the time and go to the log file.
void Console::say(const std::string& line) {
  if (!draws_bar()) return log_info("{}", line);
  clear_bar();
  std::fprintf(stderr, "%s\n", line.c_str());
}

// The cursor goes back to the line's start, so that a log line of somebody else writes over the bar.
void Console::draw_bar(const std::string& line) {
  const std::string text = cut_to_columns(line, options_.columns - 1);
  std::fprintf(stderr, "\r\x1b[K%s%s%s\r", options_.color ? "\x1b[36m" : "", text.c_str(), options_.color ? "\x1b[0m" : "");
  std::fflush(stderr);
  bar_shown_ = true;
}

void Console::clear_bar() {
  if (!bar_shown_) return;
  std::fputs("\r\x1b[K", stderr);
  bar_shown_ = false;
}

}  // namespace nabla
