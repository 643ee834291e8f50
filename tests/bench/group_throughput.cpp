// What a sum over two ranks on this machine costs through ProcessGroup and through c10d's Gloo alone, on the same bytes: group_throughput [short].
// Prints one JSON object. The second rank is this program again.
#include "common/clock.h"
#include "launch/child_process.h"
#include "learner/group/gloo_process_group.h"
#include "learner/group/rendezvous_socket.h"
#include "tests/bench/median.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace nabla {
namespace {

using Gloo = c10d::ProcessGroupGloo;

struct Plan {
  // Of a vote, pocket's LoRA, that of SD v1.5, that with its flow network.
  std::vector<std::int64_t> bytes{1 << 10, 360 << 10, 6'400'000, 107'000'000};
  int rounds = 15;
};

Plan plan_of(const std::string& length) { return length == "short" ? Plan{{1 << 10, 360 << 10}, 2} : Plan{}; }

c10::intrusive_ptr<Gloo> raw_gloo(int rank, std::uint16_t port) {
  c10d::TCPStoreOptions store;
  store.port = port;
  store.isServer = rank == 0;
  const auto options = Gloo::Options::create();
  options->threads = 1;
  options->devices.push_back(Gloo::createDeviceForHostname("127.0.0.1"));
  return c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::TCPStore>("127.0.0.1", store), rank, 2, options);
}

// Both ways in turns, so that both meet the same moments of a shared machine.
nlohmann::json measure(const Plan& plan, ProcessGroup& group, Gloo& raw) {
  nlohmann::json sizes = nlohmann::json::array();
  for (const std::int64_t bytes : plan.bytes) {
    Tensor values = torch::ones({bytes / 4}, at::kFloat);
    const int repeats = static_cast<int>(std::clamp<std::int64_t>(20'000'000 / bytes, 1, 100));
    std::vector<double> ours, theirs;
    const auto seconds = [&](const auto& sum) {
      group.vote(0);
      const double start = monotonic_seconds();
      for (int i = 0; i < repeats; ++i) sum();
      return (monotonic_seconds() - start) / repeats;
    };
    for (int round = 0; round <= plan.rounds; ++round) {
      const double through_group = seconds([&] { group.all_reduce_sum(values); });
      const double through_gloo = seconds([&] {
        std::vector<Tensor> tensors{values};
        raw.allreduce(tensors)->wait();
      });
      if (round == 0) continue;  // warms up
      ours.push_back(through_group);
      theirs.push_back(through_gloo);
      values.fill_(1.0);
    }
    const double group_s = median(ours), gloo_s = median(theirs);
    sizes.push_back({{"bytes", bytes}, {"group_ms", group_s * 1e3}, {"gloo_ms", gloo_s * 1e3}, {"throughput_ratio", gloo_s / group_s}});
  }
  return sizes;
}

int run(const std::string& length, int rank, std::uint16_t port, std::uint16_t raw_port) {
  at::set_num_threads(1);
  GroupOptions options;
  options.rank = rank;
  options.size = 2;
  options.port = port;
  GlooProcessGroup group(options);
  const auto raw = raw_gloo(rank, raw_port);
  const auto sizes = measure(plan_of(length), group, *raw);
  if (rank == 0)
    fmt::print("{}\n", nlohmann::json{{"ranks", 2}, {"median_of_rounds", plan_of(length).rounds}, {"all_reduce", sizes}}.dump(2));
  group.vote(0);
  return 0;
}

std::uint16_t free_port() { return RendezvousSocket("127.0.0.1", 0).port(); }

int start(const std::string& length) {
  const std::uint16_t port = free_port(), raw_port = free_port();
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  ChildProcess other(
      {.arguments = {self, length, "1", std::to_string(port), std::to_string(raw_port)}, .environment = {}, .output_file = {}});
  return run(length, 0, port, raw_port);
}

}  // namespace
}  // namespace nabla

int main(int argc, char** argv) {
  const std::string length = argc > 1 ? argv[1] : "full";
  if (argc < 5) return nabla::start(length);
  return nabla::run(length, std::stoi(argv[2]), static_cast<std::uint16_t>(std::stoi(argv[3])),
                    static_cast<std::uint16_t>(std::stoi(argv[4])));
}
