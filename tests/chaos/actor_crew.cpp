#include "tests/chaos/actor_crew.h"

#include "tests/chaos/run_commands.h"

#include <algorithm>
#include <csignal>

namespace nabla::chaos {

namespace {

constexpr double kRestartPauseS = 0.05;

}  // namespace

ActorCrew::ActorCrew(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, Counts& counts)
    : scenario_(scenario), options_(options), link_(link), counts_(counts) {
  actors_.resize(static_cast<std::size_t>(scenario.sizes.empty() ? scenario.actors : scenario.sizes.front()));
}

void ActorCrew::start(std::size_t number) {
  Actor& actor = actors_[number];
  ++counts_["actor_starts"];
  actor.process.emplace(actor_command(scenario_, options_, link_, number, actor.starts++));
  actor.continue_at = 0;
  actor.killed = false;
}

void ActorCrew::look_after(double now_s, bool others_wait) {
  for (std::size_t number = 0; number < actors_.size(); ++number) {
    Actor& actor = actors_[number];
    if (actor.continue_at > 0 && now_s >= actor.continue_at) {
      if (actor.process) actor.process->signal(SIGCONT);
      actor.continue_at = 0;
    }
    if (const auto exit = actor.process ? actor.process->poll() : std::nullopt) notice_end(actor, *exit, now_s);
    const bool waits = actor.leaves || now_s < actor.start_at || (number > 0 && others_wait);
    if (!actor.process && !waits) start(number);
  }
}

void ActorCrew::notice_end(Actor& actor, ChildExit exit, double now_s) {
  if (exit == 0 && actor.leaves) ++counts_["left"];
  if (exit != 0 && exit != 128 + SIGKILL) ++counts_["turned_out"];
  actor.process.reset();
  actor.start_at = std::max(actor.start_at, now_s + kRestartPauseS);
}

bool ActorCrew::all_alive() {
  return std::ranges::all_of(actors_, [](Actor& actor) { return is_alive(actor); });
}

std::int64_t ActorCrew::num_alive() {
  return std::ranges::count_if(actors_, [](Actor& actor) { return is_alive(actor); });
}

bool ActorCrew::anybody_stopped() const {
  return std::ranges::any_of(actors_, [](const Actor& actor) { return actor.continue_at > 0; });
}

std::string ActorCrew::acks_of(const Actor& actor) const {
  return acks_path(options_, static_cast<std::size_t>(&actor - actors_.data()), actor.starts - 1);
}

bool ActorCrew::has_delivered(const Actor& actor) const {
  std::error_code code;
  const auto bytes = std::filesystem::file_size(acks_of(actor), code);
  return !code && bytes > 0;
}

void ActorCrew::kill(Actor& actor, double start_at_s) {
  if (has_delivered(actor)) ++counts_["kills_at_work"];
  actor.process->signal(SIGKILL);
  actor.killed = true;
  actor.start_at = start_at_s;
  ++counts_["kills"];
}

void ActorCrew::kill_all(double now_s, double away_s) {
  for (Actor& actor : actors_)
    if (is_alive(actor)) kill(actor, now_s + away_s);
}

bool ActorCrew::kill_one(Whom whom, FaultSchedule& schedule, double now_s) {
  std::vector<Actor*> alive, at_work;
  for (Actor& actor : actors_) {
    if (!is_alive(actor)) continue;
    alive.push_back(&actor);
    if (has_delivered(actor)) at_work.push_back(&actor);
  }
  const auto& choice = whom == Whom::kAtWork && !at_work.empty() ? at_work : alive;
  if (choice.empty()) return false;
  kill(*choice[schedule.pick(choice.size())], now_s);
  return true;
}

bool ActorCrew::stop_one(double until_s) {
  Actor* last = nullptr;
  for (Actor& actor : actors_) {
    if (!is_alive(actor) || !has_delivered(actor)) continue;
    if (last == nullptr || delivered_at(actor) > delivered_at(*last)) last = &actor;
  }
  if (last == nullptr) return false;
  last->process->signal(SIGSTOP);
  last->continue_at = until_s;
  ++counts_["stops"];
  return true;
}

void ActorCrew::scale(std::size_t size) {
  if (size > actors_.size()) actors_.resize(size);
  for (std::size_t number = 0; number < actors_.size(); ++number) {
    Actor& actor = actors_[number];
    const bool leaves = number >= size;
    if (leaves && !actor.leaves && actor.process) actor.process->signal(SIGTERM);
    actor.leaves = leaves;
  }
  ++counts_["scalings"];
}

}  // namespace nabla::chaos
