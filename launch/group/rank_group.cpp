#include "launch/group/rank_group.h"

#include "common/error.h"
#include "common/log.h"
#include "learner/group/gloo_process_group.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kLook{20};
constexpr int kLooks = 400;  // until ranks that do not end are killed
const std::string kLoopback = "127.0.0.1";

// As it was started; options of ours may follow.
std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> words;
  for (std::size_t start = 0; start < text.size(); start = text.find('\0', start) + 1) words.emplace_back(text.c_str() + start);
  words.front() = std::filesystem::read_symlink("/proc/self/exe").string();
  return words;
}

}  // namespace

RankGroup::RankGroup(RunConfig& config, const RankOptions& options)
    : learner_(config.learner), place_(find_rank_place(options, config.learner.ranks, process_environment())) {
  if (!place_) return;
  config.learner.ranks = place_->size;
  if (place_->size > 1)
    log_info("rank {} of {}, by {}; rendezvous at {}:{}", place_->rank, place_->size, place_->source, place_->host, place_->port);
}

void RankGroup::add_to(ConfigSources& sources) const {
  if (place_) sources.assignments.push_back(fmt::format("learner.ranks={}", place_->size));
}

RankGroup::~RankGroup() {
  const auto has_ended = [](ChildProcess& child) { return child.poll().has_value(); };
  for (int look = 0; look < kLooks && !std::ranges::all_of(started_, has_ended); ++look) std::this_thread::sleep_for(kLook);
}

void RankGroup::start_others(const std::string& log_folder) {
  socket_.emplace(kLoopback, 0);
  place_ = RankPlace{
      .size = static_cast<int>(learner_.ranks), .host = kLoopback, .port = socket_->port(), .session = "0", .source = "learner.ranks"};
  const std::string threads = std::to_string(learner_.threads);
  for (std::int64_t rank = 1; rank < learner_.ranks; ++rank) {
    ChildCommand command{.arguments = own_command_line(),
                         .environment = {{"OMP_NUM_THREADS", threads}, {"MKL_NUM_THREADS", threads}, {"OMP_WAIT_POLICY", "PASSIVE"}},
                         .output_file = fmt::format("{}/rank-{}.log", log_folder, rank)};
    for (const auto& word :
         {std::string("--rank"), std::to_string(rank), std::string("--rendezvous"), fmt::format("{}:{}", kLoopback, place_->port)})
      command.arguments.push_back(word);
    started_.emplace_back(command);
  }
  log_info("{} ranks on this machine, started here", learner_.ranks);
}

std::string RankGroup::obstacle(const std::stop_token& stop) {
  if (stop.stop_requested()) return "stop was requested";
  for (std::size_t i = 0; i < started_.size(); ++i) {
    if (const auto exit = started_[i].poll())
      return fmt::format("rank {} ended with exit code {}, see {}/rank-{}.log", i + 1, *exit, log_folder_, i + 1);
  }
  return "";
}

std::shared_ptr<ProcessGroup> RankGroup::join(const std::string& log_folder, const std::stop_token& stop) {
  log_folder_ = log_folder;
  if (!place_ && learner_.ranks > 1) start_others(log_folder);
  if (!place_ || place_->size == 1) return nullptr;
  GroupOptions options;
  options.rank = place_->rank;
  options.size = place_->size;
  options.host = place_->host;
  options.port = place_->port;
  options.session = place_->session;
  options.store_of_launcher = place_->store_of_launcher;
  options.rendezvous_deadline_s = learner_.rendezvous_deadline_s;
  options.collective_deadline_s = learner_.collective_deadline_s;
  options.late_deadline_s = learner_.late_deadline_s;
  options.obstacle = [this, stop] { return obstacle(stop); };
  if (options.rank == 0 && !options.store_of_launcher) {
    if (!socket_) socket_.emplace(options.host, options.port);
    options.listener = socket_->release();
  }
  return std::make_shared<GlooProcessGroup>(options);
}

}  // namespace nabla
