#include "common/failpoint.h"

#include "common/error.h"
#include "common/log.h"
#include "common/nearest.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace nabla {

namespace {

struct Name {
  std::string_view text;
  bool in_fakes_alone = false;
};

constexpr std::array<Name, 19> kFailpoints{{
    {"actor.before_delivery"},
    {"actor.mid_pull"},
    {"actor.mid_record"},
    {"actor.mid_swap"},
    {"learner.after_ack"},
    {"learner.after_publish_journal"},
    {"learner.after_receive"},
    {"learner.after_trained_journal"},
    {"learner.before_ack"},
    {"learner.before_publish_journal"},
    {"learner.before_trained_journal"},
    {"learner.mid_publish"},
    {"learner.mid_train"},
    {"checkpoint.after_commit"},
    {"checkpoint.before_commit"},
    {"checkpoint.mid_write"},
    {"log.before_seal"},
    {"log.before_sync"},
    {"log.mid_append"},
}};

constexpr std::array<Name, 17> kBugs{{
    {"actor.swap_before_verify", true},
    {"checkpoint.cursor_ahead", true},
    {"ingest.drop_discard"},
    {"ingest.drop_publish"},
    {"ingest.drop_record"},
    {"ingest.no_dedupe"},
    {"ingest.unjournaled_training"},
    {"learner.train_twice", true},
    {"log.ack_before_append"},
    {"log.ignore_full_disk"},
    {"log.retry_failed_sync"},
    {"log.short_write_is_whole"},
    {"queue.drop_record"},
    {"record.skip_crc"},
    {"recovery.cut_last_good"},
    {"server.drop_ack"},
    {"validator.skip_digest"},
}};

enum class Action { kKill, kExit, kAbort, kError, kDelay };

struct Plan {
  std::string place;
  Action action = Action::kKill;
  std::chrono::milliseconds delay{0};
};

struct Armed {
  Armed(const Plan& what, long nth) : plan(what), left(nth) {}
  const Plan plan;
  std::atomic<long> left;  // times that it is still to be reached
};

// Of the process, because the places are everywhere in it. Written by arm_failpoints() alone.
struct State {
  std::deque<Armed> armed;
  std::set<std::string, std::less<>> bugs;
};
State& state() {
  static State the_state;
  return the_state;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at) parts.emplace_back();
    if (c != at) parts.back() += c;
  }
  return parts;
}

std::optional<long> number_in(const std::string& text) {
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

template <std::size_t N>
std::vector<std::string_view> names_at(const std::array<Name, N>& names, FailpointHost host) {
  std::vector<std::string_view> there;
  for (const Name& name : names) {
    if (host == FailpointHost::kChaos || !name.in_fakes_alone) there.push_back(name.text);
  }
  return there;
}

void require_known(const std::string& name, const std::vector<std::string_view>& names, const char* what) {
  if (std::ranges::find(names, name) != names.end()) return;
  const std::vector<std::string> known(names.begin(), names.end());
  throw usage_error("[failpoint] there is no {} '{}'; did you mean '{}'? (there are: {})", what, name, nearest(name, known),
                    comma_list(known));
}

// The action that a text names from word `first` on.
void set_action(Plan& plan, const std::vector<std::string>& words, std::size_t first) {
  const std::string& name = words[first];
  const std::array<std::pair<std::string_view, Action>, 5> actions{
      {{"kill", Action::kKill}, {"exit", Action::kExit}, {"abort", Action::kAbort}, {"error", Action::kError}, {"delay", Action::kDelay}}};
  const auto found = std::ranges::find(actions, std::string_view(name), [](const auto& action) { return action.first; });
  const std::size_t num_words = first + (name == "delay" ? 2 : 1);
  if (found == actions.end() || words.size() != num_words)
    throw usage_error("[failpoint] '{}' has no such action; expected place[:nth][:kill | exit | abort | error | delay:MS]", plan.place);
  plan.action = found->second;
  if (plan.action != Action::kDelay) return;
  const auto delay = number_in(words.back());
  if (!delay) throw usage_error("[failpoint] the delay of '{}' is '{}'; milliseconds are expected", plan.place, words.back());
  plan.delay = std::chrono::milliseconds(*delay);
}

// What a whole text asks for.
struct Request {
  std::vector<std::pair<Plan, long>> plans;  // and the time from 1 at which each acts
  std::vector<std::string> bugs;
};

void read_one(const std::string& text, FailpointHost host, Request& request) {
  const std::vector<std::string> words = split(text, ':');
  if (words.front() == "bug" && words.size() == 2) {
    require_known(words[1], seeded_bug_names(host), "seeded bug");
    request.bugs.push_back(words[1]);
    return;
  }
  require_known(words.front(), failpoint_names(host), "failpoint");
  Plan plan{.place = words.front()};
  const auto nth = words.size() > 1 ? number_in(words[1]) : std::nullopt;
  if (nth == 0) throw usage_error("[failpoint] '{}' is counted from 1", plan.place);
  const std::size_t next = nth ? 2 : 1;
  if (next < words.size()) set_action(plan, words, next);
  request.plans.emplace_back(std::move(plan), nth.value_or(1));
}

void act(const Plan& plan) {
  log_warning("[failpoint] reached {}", plan.place);
  switch (plan.action) {
    case Action::kKill:
      ::kill(::getpid(), SIGKILL);
      // The signal may be on its way to another thread: nothing more happens in this one.
      while (true) ::pause();
    case Action::kExit:
      ::_exit(1);
    case Action::kAbort:
      std::abort();
    case Action::kError:
      throw failure("[failpoint] {}", plan.place);
    case Action::kDelay:
      std::this_thread::sleep_for(plan.delay);
  }
}

}  // namespace

void arm_failpoints(const std::string& text, FailpointHost host) {
  if (text.empty()) return;
  if (!kHasFailpoints)
    throw usage_error("[failpoint] '{}' was asked for, but this build has no failpoints; configure it with -DNABLA_FAILPOINTS=ON", text);
  Request request;
  for (const std::string& one : split(text, ',')) read_one(one, host, request);
  for (const auto& [plan, nth] : request.plans) state().armed.emplace_back(plan, nth);
  state().bugs.insert(request.bugs.begin(), request.bugs.end());
}

std::vector<std::string_view> failpoint_names(FailpointHost host) { return names_at(kFailpoints, host); }

std::vector<std::string_view> seeded_bug_names(FailpointHost host) { return names_at(kBugs, host); }

void reach_failpoint(std::string_view place) {
  for (Armed& armed : state().armed) {
    if (armed.plan.place == place && --armed.left == 0) act(armed.plan);
  }
}

bool is_failpoint_armed(std::string_view place) {
  return std::ranges::any_of(state().armed, [&](const Armed& armed) { return armed.plan.place == place && armed.left > 0; });
}

bool is_bug_seeded(std::string_view bug) { return state().bugs.contains(bug); }

}  // namespace nabla
