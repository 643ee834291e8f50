// One rank of a group, for the tests that kill ranks: group_worker RANK SIZE PORT DEADLINE_S TASK. Tasks:
//   sum N      adds up N times and prints the last sum
//   loop       adds up until something ends it; prints "working" after the third time
//   absent     adds up three times, prints "working", then comes to no call any more
//   fail       adds up three times, then aborts
#include "common/error.h"
#include "learner/group/gloo_process_group.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace nabla {
namespace {

constexpr std::int64_t kFloats = 1 << 18;

double add_up(ProcessGroup& group, std::int64_t times) {
  double last = 0;
  for (std::int64_t i = 0; i < times; ++i) {
    Tensor values = torch::full({kFloats}, static_cast<double>(group.rank() + 1 + i), at::kFloat);
    group.all_reduce_sum(values);
    last = values[kFloats - 1].item<double>();
  }
  return last;
}

void say(const std::string& text) {
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

int work(int argc, char** argv) {
  if (argc < 6) throw usage_error("group_worker RANK SIZE PORT DEADLINE_S sum N|loop|absent|fail");
  GroupOptions options;
  options.rank = std::stoi(argv[1]);
  options.size = std::stoi(argv[2]);
  options.port = static_cast<std::uint16_t>(std::stoi(argv[3]));
  options.rendezvous_deadline_s = 20;
  options.collective_deadline_s = std::stod(argv[4]);
  const std::string task = argv[5];
  GlooProcessGroup group(options);
  if (task == "sum") {
    say(fmt::format("sum {}", add_up(group, std::stoll(argv[6]))));
    return 0;
  }
  add_up(group, 3);
  say("working");
  while (task == "loop") add_up(group, 1);
  if (task == "fail") group.abort("its disk is full");
  if (task == "absent") std::this_thread::sleep_for(std::chrono::hours(1));
  return 1;
}

}  // namespace
}  // namespace nabla

int main(int argc, char** argv) {
  try {
    return nabla::work(argc, argv);
  } catch (const nabla::Error& error) {
    fmt::print(stderr, "nabla: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
