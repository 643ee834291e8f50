#include "learner/group/gloo_process_group.h"

#include "common/error.h"
#include "learner/group/group_call.h"
#include "learner/group/rendezvous.h"
#include "learner/group/within.h"

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/types.h>

#include <algorithm>
#include <cstring>

namespace nabla {

namespace {

using Gloo = c10d::ProcessGroupGloo;

c10::intrusive_ptr<Gloo> connect_gloo(const Rendezvous& rendezvous, const GroupOptions& options) {
  const std::string what = fmt::format("rank {} of {} connects to the other ranks", options.rank, options.size);
  const auto timeout = std::chrono::duration<double>(options.late_deadline_s + options.collective_deadline_s);
  const auto gloo = Gloo::Options::create(std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
  gloo->threads = 1;  // calls come one at a time
  try {
    return within(options.rendezvous_deadline_s, what, [gloo, store = rendezvous.store, address = rendezvous.own_address, options] {
      gloo->devices.push_back(Gloo::createDeviceForHostname(address));
      return c10::make_intrusive<Gloo>(store, options.rank, options.size, gloo);
    });
  } catch (const Error&) {
    throw;
  } catch (const std::exception& problem) {
    rendezvous.watch->blame(problem.what());
  }
}

Tensor bytes_tensor(const std::string& bytes, std::int64_t length) {
  Tensor tensor = torch::zeros({length}, at::kByte);
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

struct GlooProcessGroup::Backend {
  explicit Backend(const GroupOptions& options) : rendezvous(meet(options)), gloo(connect_gloo(rendezvous, options)) {}
  // After a failure a call may still be under way, and the destructor would wait for it until Gloo's own deadline.
  ~Backend() {
    if (broken) gloo.release();
  }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  template <class Start>
  void call(const char* name, Start start) {
    broken = true;
    rendezvous.watch->enter(name);
    try {
      wait_for_work(*start(), *rendezvous.watch);
    } catch (const Error&) {
      throw;
    } catch (const std::exception&) {
      end_with_current_error(*rendezvous.watch);
    }
    broken = false;
  }

  // Row of each rank -> [size, length of own].
  Tensor gather_rows(const Tensor& own, int size) {
    std::vector<std::vector<Tensor>> rows(1);
    for (int rank = 0; rank < size; ++rank) rows.front().push_back(torch::empty_like(own));
    std::vector<Tensor> input{own};
    call("all_gather", [&] { return gloo->allgather(rows, input); });
    return torch::stack(rows.front());
  }

  Rendezvous rendezvous;
  c10::intrusive_ptr<Gloo> gloo;
  bool broken = false;
};

GlooProcessGroup::GlooProcessGroup(const GroupOptions& options)
    : ProcessGroup(options.rank, options.size), backend_(std::make_unique<Backend>(options)) {}

GlooProcessGroup::~GlooProcessGroup() = default;

const Rendezvous& GlooProcessGroup::rendezvous() const { return backend_->rendezvous; }

void GlooProcessGroup::all_reduce_sum(Tensor& values) {
  std::vector<Tensor> tensors{values};
  backend_->call("all_reduce_sum", [&] { return backend_->gloo->allreduce(tensors); });
}

std::vector<std::string> GlooProcessGroup::all_gather(const std::string& bytes) {
  const Tensor lengths = backend_->gather_rows(torch::full({1}, static_cast<std::int64_t>(bytes.size()), at::kLong), size()).flatten();
  const auto longest = lengths.max().item<std::int64_t>();
  if (longest == 0) return std::vector<std::string>(static_cast<std::size_t>(size()));
  const Tensor rows = backend_->gather_rows(bytes_tensor(bytes, longest), size());
  std::vector<std::string> all;
  for (int rank = 0; rank < size(); ++rank) {
    const auto length = static_cast<std::size_t>(lengths[rank].item<std::int64_t>());
    all.emplace_back(static_cast<const char*>(rows[rank].const_data_ptr()), length);
  }
  return all;
}

void GlooProcessGroup::broadcast(Tensor& values, int root) {
  std::vector<Tensor> tensors{values};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  backend_->call("broadcast", [&] { return backend_->gloo->broadcast(tensors, options); });
}

std::uint32_t GlooProcessGroup::vote(std::uint32_t flags) {
  std::vector<Tensor> tensors{torch::full({1}, static_cast<std::int64_t>(flags), at::kLong)};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::BOR;
  backend_->call("vote", [&] { return backend_->gloo->allreduce(tensors, options); });
  return static_cast<std::uint32_t>(tensors.front().item<std::int64_t>());
}

void GlooProcessGroup::abort(const std::string& reason) {
  backend_->rendezvous.watch->end(fmt::format("rank {} stopped: {}", rank(), reason));
}

}  // namespace nabla
