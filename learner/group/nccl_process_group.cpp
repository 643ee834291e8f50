#include "learner/group/nccl_process_group.h"

#include "common/error.h"
#include "learner/group/gloo_process_group.h"
#include "learner/group/group_call.h"
#include "learner/group/rendezvous.h"

#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <thread>

namespace nabla {

namespace {

using Nccl = c10d::ProcessGroupNCCL;

constexpr std::chrono::microseconds kLook{200};

class NcclProcessGroup : public ProcessGroup {
 public:
  NcclProcessGroup(const GroupOptions& options, int device) : ProcessGroup(options.rank, options.size), control_(options) {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
    const auto nccl = Nccl::Options::create();
    nccl->timeout = std::chrono::milliseconds(static_cast<std::int64_t>((options.late_deadline_s + options.collective_deadline_s) * 1000));
    const auto store = c10::make_intrusive<c10d::PrefixStore>("nccl", control_.rendezvous().store);
    nccl_ = c10::make_intrusive<Nccl>(store, options.rank, options.size, nccl);
    nccl_->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
  }
  // Communicators go before the CUDA context does.
  ~NcclProcessGroup() override { broken_ ? nccl_->abort() : nccl_->shutdown(); }

  void all_reduce_sum(Tensor& values) override {
    if (!values.is_cuda()) return control_.all_reduce_sum(values);
    std::vector<Tensor> tensors{values};
    call("all_reduce_sum", [&] { return nccl_->allreduce(tensors); });
  }
  std::vector<std::string> all_gather(const std::string& bytes) override { return control_.all_gather(bytes); }
  void broadcast(Tensor& values, int root) override {
    if (!values.is_cuda()) return control_.broadcast(values, root);
    std::vector<Tensor> tensors{values};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    call("broadcast", [&] { return nccl_->broadcast(tensors, options); });
  }
  std::uint32_t vote(std::uint32_t flags) override { return control_.vote(flags); }
  void abort(const std::string& reason) override {
    broken_ = true;
    control_.abort(reason);
  }

 private:
  // NCCL's own wait() orders streams and returns at once; a dead rank shows only to who looks until the kernel is done.
  template <class Start>
  void call(const char* name, Start start) {
    GroupWatch& watch = *control_.rendezvous().watch;
    broken_ = true;
    watch.enter(name);
    try {
      const auto work = start();
      while (!work->isCompleted()) {
        watch.check();
        std::this_thread::sleep_for(kLook);
      }
      work->wait();
    } catch (const Error&) {
      end_with_current_error(watch);
    } catch (const std::exception& problem) {
      blame(watch, problem.what());
    }
    broken_ = false;
  }

  static void blame(GroupWatch& watch, const std::string& problem) {
    try {
      watch.blame(problem);
    } catch (const Error&) {
      end_with_current_error(watch);
    }
  }

  GlooProcessGroup control_;
  c10::intrusive_ptr<Nccl> nccl_;
  bool broken_ = false;
};

}  // namespace

std::unique_ptr<ProcessGroup> make_nccl_process_group(const GroupOptions& options, int device) {
  return std::make_unique<NcclProcessGroup>(options, device);
}

}  // namespace nabla
