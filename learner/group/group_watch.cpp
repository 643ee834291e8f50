#include "learner/group/group_watch.h"

#include "common/clock.h"
#include "common/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kBeat{500};
constexpr std::chrono::milliseconds kLook{50};
constexpr double kSuspicious_s = 2.5;  // silence that names a rank once something went wrong
constexpr double kBlame_s = 6.0;       // how long a failed call looks for who is silent
constexpr double kLinger_s = 3.0;      // how long a rank waits for the others to hear of the group's end, or to leave before the store goes
constexpr double kNotice_s = 1.0;      // from the last beat that is missed to an error, so that it comes within the deadline
constexpr double kOwnPause_s = 2.0;    // between two looks: this process itself was stopped
const std::string kVerdict = "verdict";

std::string beat_key(int rank) { return fmt::format("beat/{}", rank); }

// What a rank writes: a number that grows, the call it is in, whether it knows of the group's end and whether it has left.
struct Beat {
  std::int64_t count = 0, call = 0;
  std::string name = "-";
  bool heard = false, left = false;

  std::string text() const { return fmt::format("{} {} {} {:d} {:d}", count, call, name, heard, left); }
  static Beat parse(const std::string& text) {
    Beat beat;
    std::istringstream(text) >> beat.count >> beat.call >> beat.name >> beat.heard >> beat.left;
    return beat;
  }
};

struct SeenRank {
  Beat beat;
  double changed_s = 0;  // when its beat last changed, on our clock
  bool came = false;
};

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string comma_list_of(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += fmt::format("{}{}", text.empty() ? "" : ", ", rank);
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", text);
}

}  // namespace

struct GroupWatch::State {
  State(const GroupOptions& group, c10::intrusive_ptr<c10d::Store> own_store)
      : options(group), store(std::move(own_store)), seen(static_cast<std::size_t>(group.size)) {}

  void run();
  void look();
  void read_beats();
  bool all_came() const;
  bool all_others(bool Beat::*know) const;
  // Caller holds the mutex. The store does not answer any more.
  bool is_cut_off() const { return ended || monotonic_seconds() - answered_s > kSuspicious_s; }
  std::vector<int> silent_for(double seconds) const;
  std::string where() const { return fmt::format("[group] rank {} of {}", options.rank, options.size); }
  std::string store_keeper() const { return options.store_of_launcher ? "the launcher's rendezvous" : "rank 0"; }
  std::string silence_text(const std::vector<int>& ranks) const;
  void forgive_own_pause();

  const GroupOptions options;
  const c10::intrusive_ptr<c10d::Store> store;  // the thread's alone
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  Beat own;                    // this and all below guarded by mutex
  std::vector<SeenRank> seen;  // by rank
  std::string verdict, verdict_to_tell;
  double entered_s = 0, answered_s = monotonic_seconds();  // start of the call; when the store last answered
  double checked_s = 0;                                    // when the waiting was last looked at
  std::string store_error;
  bool stop = false, ended = false;  // asked to end; the thread has
};

bool GroupWatch::State::all_came() const {
  return std::all_of(seen.begin(), seen.end(), [](const SeenRank& rank) { return rank.came; });
}

// Caller holds the mutex. Of those that are not silent.
bool GroupWatch::State::all_others(bool Beat::*know) const {
  const auto silent = silent_for(kSuspicious_s);
  for (int rank = 0; rank < options.size; ++rank) {
    const bool counts = rank != options.rank && std::find(silent.begin(), silent.end(), rank) == silent.end();
    if (counts && !(seen[static_cast<std::size_t>(rank)].beat.*know)) return false;
  }
  return true;
}

// Caller holds the mutex. A store that does not answer tells of nobody but its keeper.
std::vector<int> GroupWatch::State::silent_for(double seconds) const {
  const double now = monotonic_seconds();
  if (!store_error.empty() || now - answered_s > seconds) return {0};
  std::vector<int> silent;
  for (int rank = 0; rank < options.size; ++rank) {
    const SeenRank& other = seen[static_cast<std::size_t>(rank)];
    if (rank != options.rank && other.came && answered_s - other.changed_s > seconds) silent.push_back(rank);
  }
  return silent;
}

// Caller holds the mutex.
std::string GroupWatch::State::silence_text(const std::vector<int>& ranks) const {
  const double now = monotonic_seconds();
  const double last_s =
      !store_error.empty() || ranks == std::vector<int>{0} ? answered_s : seen[static_cast<std::size_t>(ranks.front())].changed_s;
  const std::string who = ranks == std::vector<int>{0} && options.rank != 0 ? store_keeper() : comma_list_of(ranks);
  return fmt::format("{} {} been silent for {:.1f} s in call {} ({}): dead or frozen", who, ranks.size() == 1 ? "has" : "have",
                     now - last_s, own.call, own.name);
}

// Caller holds the mutex. Who was stopped and goes on (a terminal's Ctrl-Z) has heard nobody meanwhile.
void GroupWatch::State::forgive_own_pause() {
  const double now = monotonic_seconds(), pause_s = now - checked_s;
  checked_s = now;
  if (pause_s < kOwnPause_s) return;
  answered_s = now;
  entered_s += pause_s;
  for (auto& other : seen) other.changed_s = now;
}

void GroupWatch::State::run() {
  try {
    std::unique_lock lock(mutex);
    while (!stop) {
      lock.unlock();
      look();
      lock.lock();
      changed.notify_all();
      const bool hurries = !verdict_to_tell.empty() || own.left;
      changed.wait_for(lock, hurries ? kLook : kBeat, [&] { return stop || (!hurries && (!verdict_to_tell.empty() || own.left)); });
    }
  } catch (const std::exception& problem) {
    const std::lock_guard lock(mutex);
    store_error = problem.what();
  }
  const std::lock_guard lock(mutex);
  ended = true;
  changed.notify_all();
}

void GroupWatch::State::look() {
  std::string mine, reason;
  {
    const std::lock_guard lock(mutex);
    ++own.count;
    own.heard = !verdict.empty();
    mine = own.text();
    if (verdict.empty()) reason = verdict_to_tell;
  }
  store->set(beat_key(options.rank), bytes_of(mine));
  std::string told;
  if (!reason.empty()) told = text_of(store->compareSet(kVerdict, {}, bytes_of(reason)));
  if (told.empty() && store->check({kVerdict})) told = text_of(store->get(kVerdict));
  read_beats();
  const std::lock_guard lock(mutex);
  if (!told.empty()) verdict = told;
}

void GroupWatch::State::read_beats() {
  std::vector<int> ranks;
  std::vector<std::string> keys;
  for (int rank = 0; rank < options.size; ++rank) {
    // Only the thread writes `seen`, so it may read it without the mutex.
    if (!seen[static_cast<std::size_t>(rank)].came && !store->check({beat_key(rank)})) continue;
    ranks.push_back(rank);
    keys.push_back(beat_key(rank));
  }
  const auto values = store->multiGet(keys);
  const std::lock_guard lock(mutex);
  answered_s = monotonic_seconds();
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    SeenRank& other = seen[static_cast<std::size_t>(ranks[i])];
    const Beat beat = Beat::parse(text_of(values[i]));
    if (!other.came || beat.count != other.beat.count) other.changed_s = answered_s;
    other.came = true;
    other.beat = beat;
  }
}

GroupWatch::GroupWatch(const GroupOptions& options, c10::intrusive_ptr<c10d::Store> store)
    : state_(std::make_shared<State>(options, std::move(store))) {
  std::thread([state = state_] { state->run(); }).detach();
}

// The keeper of the store leaves last. The thread is not joined: one that waits for a frozen store cannot be woken. It holds what it needs.
GroupWatch::~GroupWatch() {
  std::unique_lock lock(state_->mutex);
  state_->own.left = true;
  const std::int64_t told = state_->own.count + 1;  // the first beat that says so
  state_->changed.notify_all();
  const bool keeper = state_->options.rank == 0 && !state_->options.store_of_launcher;
  state_->changed.wait_for(lock, std::chrono::duration<double>(kLinger_s), [&] {
    return state_->is_cut_off() || (state_->own.count > told && (!keeper || !state_->all_came() || state_->all_others(&Beat::left)));
  });
  state_->stop = true;
  state_->changed.notify_all();
  if (!state_->is_cut_off()) state_->changed.wait_for(lock, kBeat, [&] { return state_->ended; });
}

void GroupWatch::wait_for_all() {
  std::unique_lock lock(state_->mutex);
  const double until_s = monotonic_seconds() + state_->options.rendezvous_deadline_s;
  const auto settled = [&] { return state_->all_came() || !state_->store_error.empty() || !state_->verdict.empty(); };
  while (!state_->changed.wait_for(lock, kLook, settled) && monotonic_seconds() < until_s) {
    lock.unlock();
    const std::string obstacle = state_->options.obstacle ? state_->options.obstacle() : "";
    lock.lock();
    if (!obstacle.empty()) throw network_error("{}: the ranks did not come together: {}", state_->where(), obstacle);
  }
  if (!state_->verdict.empty()) throw network_error("{}: {}", state_->where(), state_->verdict);
  if (state_->all_came()) return;
  std::vector<int> missing;
  for (int rank = 0; rank < state_->options.size; ++rank)
    if (!state_->seen[static_cast<std::size_t>(rank)].came) missing.push_back(rank);
  throw network_error("{}: {} did not come to {}:{} within {:.0f} s (learner.rendezvous_deadline); start {} there, or look into {} log",
                      state_->where(), comma_list_of(missing), state_->options.host, state_->options.port,
                      state_->options.rendezvous_deadline_s, missing.size() == 1 ? "it" : "them", missing.size() == 1 ? "its" : "their");
}

void GroupWatch::enter(const char* call) {
  const std::lock_guard lock(state_->mutex);
  ++state_->own.call;
  state_->own.name = call;
  state_->entered_s = state_->checked_s = monotonic_seconds();
}

void GroupWatch::check() const {
  const std::lock_guard lock(state_->mutex);
  state_->forgive_own_pause();
  const GroupOptions& options = state_->options;
  if (!state_->verdict.empty()) throw network_error("{}: {}", state_->where(), state_->verdict);
  const bool store_lost = !state_->store_error.empty();
  const auto silent = state_->silent_for(store_lost ? kSuspicious_s : options.collective_deadline_s - kNotice_s);
  if (!silent.empty() && (!store_lost || monotonic_seconds() - state_->answered_s > kSuspicious_s))
    throw network_error("{}: {}", state_->where(), state_->silence_text(silent));
  const double waited_s = monotonic_seconds() - state_->entered_s;
  std::vector<int> absent;
  for (int rank = 0; rank < options.size; ++rank)
    if (rank != options.rank && state_->seen[static_cast<std::size_t>(rank)].beat.call < state_->own.call) absent.push_back(rank);
  if (waited_s > (absent.empty() ? options.collective_deadline_s : options.late_deadline_s)) {
    throw network_error("{}: call {} ({}) is not done after {:.1f} s: {}", state_->where(), state_->own.call, state_->own.name, waited_s,
                        absent.empty()
                            ? "all ranks came to it, look at the network between them"
                            : comma_list_of(absent) + (absent.size() == 1 ? " lives but has" : " live but have") + " not come to it");
  }
}

void GroupWatch::blame(const std::string& problem) const {
  const double until_s = monotonic_seconds() + kBlame_s;
  std::unique_lock lock(state_->mutex);
  std::vector<int> silent;
  while (monotonic_seconds() < until_s && state_->verdict.empty() && (silent = state_->silent_for(kSuspicious_s)).empty())
    state_->changed.wait_for(lock, kLook);
  if (!state_->verdict.empty()) throw network_error("{}: {}", state_->where(), state_->verdict);
  const std::string line = problem.substr(0, problem.find('\n'));
  if (!silent.empty()) throw network_error("{}: {} ({})", state_->where(), state_->silence_text(silent), line);
  throw network_error("{}: call {} ({}) failed though every rank lives: {}", state_->where(), state_->own.call, state_->own.name, line);
}

void GroupWatch::end(const std::string& reason) {
  std::unique_lock lock(state_->mutex);
  state_->verdict_to_tell = reason.empty() ? "the group was ended" : reason;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::duration<double>(kLinger_s),
                           [&] { return state_->is_cut_off() || (!state_->verdict.empty() && state_->all_others(&Beat::heard)); });
}

}  // namespace nabla
