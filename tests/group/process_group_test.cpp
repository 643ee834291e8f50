#include "common/error.h"
#include "learner/group/local_process_group.h"
#include "tests/common/error_check.h"
#include "tests/group/group_in_threads.h"
#include "tests/testing.h"

#include <torch/types.h>

#include <atomic>
#include <mutex>

namespace nabla {
namespace {

using Work = std::function<void(ProcessGroup&)>;

struct Kind {
  const char* name;
  std::vector<std::string> (*run)(int size, const Work& work);
};

const std::vector<Kind> kKinds{{"threads", with_thread_group}, {"gloo", with_gloo_group}};

// A failed CHECK of another thread than the test's own would be lost in its name; these fail by throwing.
void require_that(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

void check_all_well(const std::vector<std::string>& errors) {
  for (const auto& error : errors) CHECK(error == "");
}

TEST_CASE("a sum over ranks is the same bits on every rank, and the sum") {
  for (const auto& kind : kKinds) {
    CAPTURE(kind.name);
    std::mutex mutex;
    std::vector<Tensor> results;
    check_all_well(kind.run(4, [&](ProcessGroup& group) {
      at::Generator generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(group.rank()));
      Tensor values = at::randn({10007}, generator, at::TensorOptions(at::kFloat));
      group.all_reduce_sum(values);
      const std::lock_guard lock(mutex);
      results.push_back(values);
    }));
    REQUIRE(results.size() == 4);
    Tensor expected = torch::zeros({10007}, at::kDouble);
    for (std::uint64_t rank = 0; rank < 4; ++rank)
      expected += at::randn({10007}, at::detail::createCPUGenerator(rank), at::TensorOptions(at::kFloat)).to(at::kDouble);
    for (const auto& result : results) CHECK(torch::equal(result, results.front()));
    CHECK((results.front().to(at::kDouble) - expected).abs().max().item<double>() < 2e-6);
  }
}

TEST_CASE("what ranks bring is gathered in their order, whatever its length") {
  for (const auto& kind : kKinds) {
    CAPTURE(kind.name);
    check_all_well(kind.run(3, [](ProcessGroup& group) {
      const std::string mine =
          group.rank() == 1 ? std::string() : std::string(static_cast<std::size_t>(group.rank() + 1), 'a') + std::string(1, '\0');
      const auto all = group.all_gather(mine);
      require_that(all == std::vector<std::string>{std::string("a\0", 2), "", std::string("aaa\0", 4)}, "another gathering");
      require_that(group.all_gather("") == std::vector<std::string>(3), "nothing was gathered as something");
    }));
  }
}

TEST_CASE("a broadcast copies one rank's tensor, a vote unites all flags") {
  for (const auto& kind : kKinds) {
    CAPTURE(kind.name);
    check_all_well(kind.run(3, [](ProcessGroup& group) {
      Tensor values = torch::full({5}, group.rank(), at::kLong);
      group.broadcast(values, 2);
      require_that(torch::equal(values, torch::full({5}, 2, at::kLong)), "another tensor arrived");
      require_that(group.vote(1U << group.rank()) == 7U, "a flag is missing");
      require_that(group.vote(group.rank() == 1 ? 0x80000000U : 0U) == 0x80000000U, "the highest flag is missing");
      require_that(group.vote(0) == 0, "a flag came from nowhere");
    }));
  }
}

TEST_CASE("a rank that gives up ends the calls of the others with its reason") {
  for (const auto& kind : kKinds) {
    CAPTURE(kind.name);
    const auto errors = kind.run(3, [](ProcessGroup& group) {
      group.vote(0);
      if (group.rank() == 1) return group.abort("its disk is full");
      group.vote(0);
    });
    CHECK(errors[1] == "");
    for (const auto& error : {errors[0], errors[2]}) {
      INFO(error);
      CHECK(error.find("rank 1 stopped: its disk is full") != std::string::npos);
    }
  }
}

TEST_CASE("threads that wait for a rank that does not come name it") {
  const auto groups = make_thread_process_groups(3, std::chrono::milliseconds(50));
  const auto errors = in_threads(3, [&](int rank) {
    if (rank != 1) groups[static_cast<std::size_t>(rank)]->vote(0);
  });
  // Whoever comes first may give up before the other one is there; the last to come misses rank 1 alone.
  CHECK((errors[0] + errors[2]).find(": rank 1 did not come to call 0") != std::string::npos);
}

TEST_CASE("a learner that is alone gets back what it brings") {
  LocalProcessGroup group;
  Tensor values = torch::arange(4, at::kFloat);
  group.all_reduce_sum(values);
  CHECK(torch::equal(values, torch::arange(4, at::kFloat)));
  CHECK(group.all_gather("x") == std::vector<std::string>{"x"});
  CHECK(group.vote(5) == 5);
  CHECK(group.size() == 1);
}

TEST_CASE("a rendezvous names the ranks that did not come") {
  RendezvousSocket socket("127.0.0.1", 0);
  GroupOptions options;
  options.size = 4;
  options.port = socket.port();
  options.listener = socket.release();
  options.rendezvous_deadline_s = 2;
  const auto errors = in_threads(2, [&](int index) {
    GroupOptions own = options;
    own.rank = index * 2;
    if (index != 0) own.listener = -1;
    GlooProcessGroup group(own);
  });
  for (const auto& error : errors) {
    INFO(error);
    CHECK(error.find("ranks 1, 3 did not come") != std::string::npos);
  }
}

TEST_CASE("a rank that finds nobody at the rendezvous says where it looked and for whom") {
  GroupOptions options;
  options.rank = 1;
  options.size = 2;
  options.port = RendezvousSocket("127.0.0.1", 0).port();
  options.rendezvous_deadline_s = 1;
  check_error(
      ExitCode::kNetwork, [&] { GlooProcessGroup group(options); }, "rank 1 of 2 finds rank 0 not there",
      fmt::format("127.0.0.1:{}", options.port));
}

TEST_CASE("two processes with one rank, and ranks of groups of different sizes, are told so") {
  for (const bool same_rank : {true, false}) {
    CAPTURE(same_rank);
    RendezvousSocket socket("127.0.0.1", 0);
    GroupOptions options;
    options.size = 3;
    options.port = socket.port();
    options.listener = socket.release();
    options.rendezvous_deadline_s = 2;
    const auto errors = in_threads(3, [&](int index) {
      GroupOptions own = options;
      own.rank = index == 0 ? 0 : 1;
      if (index != 0) own.listener = -1;
      if (index == 2 && !same_rank) own.size = 4;
      GlooProcessGroup group(own);
    });
    const std::string all = errors[0] + errors[1] + errors[2];
    INFO(all);
    // Of groups of different sizes the first to come decides who is refused.
    const auto says = [&](const char* part) { return all.find(part) != std::string::npos; };
    CHECK((same_rank ? says("two processes say that they are rank 1 of 3") : says("4 ranks meet") || says("3 ranks meet")));
  }
}

TEST_CASE("a port that is taken is named") {
  const RendezvousSocket taken("127.0.0.1", 0);
  check_error(
      ExitCode::kNetwork, [&] { RendezvousSocket("127.0.0.1", taken.port()); }, "rank 0 cannot keep the rendezvous",
      std::to_string(taken.port()));
}

}  // namespace
}  // namespace nabla
