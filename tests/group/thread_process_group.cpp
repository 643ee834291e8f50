#include "tests/group/thread_process_group.h"

#include "common/error.h"

#include <torch/types.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

namespace nabla {

namespace {

// What a rank brings to a call.
struct Contribution {
  Tensor tensor;
  std::string bytes;
  std::uint32_t flags = 0;
};

// Where the threads meet, call by call.
class Table {
 public:
  Table(int size, std::chrono::milliseconds deadline) : size_(static_cast<std::size_t>(size)), deadline_(deadline) {}

  std::vector<Contribution> exchange(std::int64_t call, int rank, Contribution mine) {
    std::unique_lock lock(mutex_);
    auto& brought = calls_[call];
    brought.emplace(rank, std::move(mine));
    changed_.notify_all();
    changed_.wait_for(lock, deadline_, [&] { return brought.size() == size_ || !reason_.empty(); });
    // A call to which all came is done, whatever a rank that was faster did after it.
    if (brought.size() < size_) {
      throw network_error("[group] rank {} of {}: {}", rank, size_,
                          reason_.empty() ? fmt::format("{} did not come to call {}", missing(brought), call) : reason_);
    }
    std::vector<Contribution> all;
    for (auto& [other, contribution] : brought) all.push_back(contribution);
    return all;
  }
  void end(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (reason_.empty()) reason_ = reason;
    changed_.notify_all();
  }

 private:
  std::string missing(const std::map<int, Contribution>& brought) const {
    std::string text;
    for (int rank = 0; rank < static_cast<int>(size_); ++rank)
      if (!brought.contains(rank)) text += fmt::format("{}rank {}", text.empty() ? "" : ", ", rank);
    return text;
  }

  const std::size_t size_;
  const std::chrono::milliseconds deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, std::map<int, Contribution>> calls_;  // guarded by mutex_
  std::string reason_;                                         // guarded by mutex_
};

class ThreadProcessGroup : public ProcessGroup {
 public:
  ThreadProcessGroup(int rank, int size, std::shared_ptr<Table> table) : ProcessGroup(rank, size), table_(std::move(table)) {}

  void all_reduce_sum(Tensor& values) override {
    const auto all = exchange({.tensor = values.clone(), .bytes = {}});
    Tensor sum = all.front().tensor.clone();
    for (std::size_t rank = 1; rank < all.size(); ++rank) sum.add_(all[rank].tensor);
    values.copy_(sum);
  }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    std::vector<std::string> all;
    for (auto& contribution : exchange({.tensor = {}, .bytes = bytes})) all.push_back(contribution.bytes);
    return all;
  }
  void broadcast(Tensor& values, int root) override {
    values.copy_(exchange({.tensor = values.clone(), .bytes = {}})[static_cast<std::size_t>(root)].tensor);
  }
  std::uint32_t vote(std::uint32_t flags) override {
    std::uint32_t any = 0;
    for (const auto& contribution : exchange({.tensor = {}, .bytes = {}, .flags = flags})) any |= contribution.flags;
    return any;
  }
  void abort(const std::string& reason) override { table_->end(fmt::format("rank {} stopped: {}", rank(), reason)); }

 private:
  std::vector<Contribution> exchange(Contribution mine) { return table_->exchange(call_++, rank(), std::move(mine)); }

  const std::shared_ptr<Table> table_;
  std::int64_t call_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<ProcessGroup>> make_thread_process_groups(int size, std::chrono::milliseconds deadline) {
  const auto table = std::make_shared<Table>(size, deadline);
  std::vector<std::unique_ptr<ProcessGroup>> groups;
  for (int rank = 0; rank < size; ++rank) groups.push_back(std::make_unique<ThreadProcessGroup>(rank, size, table));
  return groups;
}

}  // namespace nabla
