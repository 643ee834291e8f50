#include "launch/live/run_state.h"

#include "common/error.h"
#include "common/json_file.h"
#include "launch/live/control_point.h"
#include "launch/log/log_text.h"

#include <chrono>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kAnswerDeadline{3000};

// Of a file of the run, "12.3 s ago"; on the machine that wrote it the clocks agree.
std::string age_text(const std::string& file) {
  std::error_code error;
  const auto age = fs::file_time_type::clock::now() - fs::last_write_time(file, error);
  return error ? "never" : duration_text(std::chrono::duration_cast<std::chrono::milliseconds>(age).count()) + " ago";
}

// What the supervisor says of its actors; null where there is none, or it is just ending.
Json ask_fleet(const std::string& run_dir) {
  const auto point = read_control_point(run_dir, "train");
  if (!point || !may_be_alive(*point)) return nullptr;
  try {
    const HttpResponse answer = call(*point, "GET", "/fleet", kAnswerDeadline);
    return answer.status == 200 ? parse_json(answer.body, "the answer of nabla train") : Json(nullptr);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kNetwork) throw;
    return nullptr;
  }
}

RunState ended(const std::string& run_dir) {
  RunState state{.life = RunLife::kEnded, .status = {}, .fleet = nullptr, .summary = read_json(run_dir + "/summary.json"), .text = ""};
  return state;
}

RunState dead(const std::string& run_dir, const std::string& why) {
  const std::string file = run_dir + "/status.json";
  const bool began = fs::exists(file);
  const std::string last = began ? fmt::format("its last word was '{}' at update {}, {}", read_json(file).value("state", "?"),
                                               read_json(file).value("update", std::int64_t{0}), age_text(file))
                                 : "it never began to train";
  const std::string advice = began ? fmt::format("; go on with nabla train --resume {}", run_dir) : "";
  return {.life = RunLife::kDead, .status = {}, .fleet = nullptr, .summary = {}, .text = fmt::format("{}: {}{}", why, last, advice)};
}

RunState without_answer(const std::string& run_dir, const ControlPoint& point, const std::string& why) {
  if (fs::exists(run_dir + "/summary.json")) return ended(run_dir);
  if (!may_be_alive(point)) return dead(run_dir, fmt::format("the learner (process {} on {}) is gone", point.pid, point.host));
  return dead(run_dir, fmt::format("the learner (process {} on {}) does not answer ({})", point.pid, point.host, why));
}

RunState ask_learner(const std::string& run_dir, const ControlPoint& point) {
  try {
    const HttpResponse answer = call(point, "GET", "/status", kAnswerDeadline);
    if (answer.status == 200) {
      return {.life = RunLife::kLive,
              .status = parse_json(answer.body, "the learner's answer"),
              .fleet = ask_fleet(run_dir),
              .summary = {},
              .text = ""};
    }
    return {
        .life = RunLife::kStarting, .status = {}, .fleet = nullptr, .summary = {}, .text = answer.body.substr(0, answer.body.find('\n'))};
  } catch (const Error& error) {
    if (error.code() != ExitCode::kNetwork) throw;
    return without_answer(run_dir, point, error.what());
  }
}

}  // namespace

RunState look_at_run(const std::string& run_dir) {
  const auto learner = read_control_point(run_dir, "learner");
  if (learner) return ask_learner(run_dir, *learner);
  if (fs::exists(run_dir + "/summary.json")) return ended(run_dir);
  const auto train = read_control_point(run_dir, "train");
  if (train && may_be_alive(*train)) {
    return {.life = RunLife::kStarting,
            .status = {},
            .fleet = nullptr,
            .summary = {},
            .text = "nabla train is there, its learner is not yet, or no longer"};
  }
  return dead(run_dir, "no process of the run is here");
}

}  // namespace nabla
