#include "common/diffusion/model_folder.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/fleet/run.h"
#include "tests/fleet/tiny_model.h"
#include "tests/testing.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string_view>

using namespace nabla;

namespace {

constexpr const char* kUnet = "/unet/diffusion_pytorch_model.safetensors";

std::int64_t count_of(const std::string& text, std::string_view part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// One clear message: the process ends in time with the code, says "nabla: " once and names every part.
void check_refusal(const Outcome& outcome, ChildExit exit, const std::vector<std::string>& parts) {
  INFO(outcome.output);
  CHECK(outcome.exit == exit);
  CHECK(is_prompt(outcome.seconds));
  CHECK(count_of(outcome.output, "nabla: ") == 1);
  for (const auto& part : parts) {
    INFO("expected: ", part);
    CHECK(outcome.says(part));
  }
}

Outcome train(const std::vector<std::string>& settings) {
  const Runs runs;
  return Process(runs.command("train", "run", settings)).wait();
}

// A copy of the tiny model that a test damages.
class DamagedModel {
 public:
  DamagedModel() { std::filesystem::copy(tiny_model(), path(), std::filesystem::copy_options::recursive); }
  std::string path() const { return folder_.file("model"); }
  std::string file(const std::string& name) const { return path() + name; }
  std::string setting() const { return "pretrained.model=" + path(); }

 private:
  TemporaryFolder folder_;
};

// A TCP port of the loopback address that somebody listens on.
class TakenPort {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(socket_, any, size) == 0);
    REQUIRE(::listen(socket_, 1) == 0);
    REQUIRE(::getsockname(socket_, any, &size) == 0);
    number_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(socket_); }
  std::string address() const { return fmt::format("tcp://127.0.0.1:{}", number_); }
  std::string number() const { return std::to_string(number_); }

 private:
  int socket_;
  std::uint16_t number_ = 0;
};

}  // namespace

TEST_CASE("a missing model folder is named") {
  check_refusal(train({"pretrained.model=/no/such/model"}), 3, {"no model folder '/no/such/model'"});
}

TEST_CASE("a truncated weights file is named") {
  const DamagedModel model;
  std::filesystem::resize_file(model.file(kUnet), std::filesystem::file_size(model.file(kUnet)) - 100);
  check_refusal(train({model.setting()}), 3, {model.file(kUnet)});
}

TEST_CASE("a tensor of another shape is named with both shapes") {
  const DamagedModel model;
  TensorMap tensors = load_tensors(model.file(kUnet));
  for (auto& [name, tensor] : tensors) tensor = tensor.clone();
  tensors["conv_in.bias"] = at::zeros({7});
  save_tensors(model.file(kUnet), tensors);
  check_refusal(train({model.setting()}), 3, {"conv_in.bias", "[7]", "[8]"});
}

TEST_CASE("a model whose last step has no noise is refused with the key to change") {
  const DamagedModel model;
  const std::string path = model.file("/scheduler/scheduler_config.json");
  auto scheduler = read_json(path);
  scheduler["set_alpha_to_one"] = true;
  write_file(path, scheduler.dump());
  check_refusal(train({model.setting()}), 2, {"sigma = 0", "scheduler_config.json", "set_alpha_to_one: false"});
}

TEST_CASE("damage that only the actors can see ends the run with their message") {
  const DamagedModel model;
  TensorMap tensors = load_tensors(model.file("/vae/diffusion_pytorch_model.safetensors"));
  for (auto& [name, tensor] : tensors) tensor = tensor.clone();
  tensors.erase("decoder.conv_in.bias");
  save_tensors(model.file("/vae/diffusion_pytorch_model.safetensors"), tensors);
  const Outcome outcome = train({model.setting()});
  INFO(outcome.output);
  CHECK(outcome.exit == 3);
  CHECK(outcome.says("decoder.conv_in.bias"));
}

TEST_CASE("an unknown key is named with its place and the nearest known one") {
  const Runs runs;
  write_file(runs.folder("typo.yaml"), "training:\n  batch_size: 2\n  lerning_rate: 1\n");
  const Outcome outcome = run_nabla({"train", "--config", runs.folder("typo.yaml")});
  check_refusal(outcome, 2, {runs.folder("typo.yaml") + ":3:3", "training.lerning_rate"});
  check_refusal(train({"training.update=3"}), 2, {"training.update", "training.updates"});
}

TEST_CASE("options that contradict each other are refused before anything starts") {
  const Runs runs;
  const Outcome outcome = Process(runs.command("train", "run", {"fleet.publish_every=5", "fleet.max_policy_lag=2"})).wait();
  check_refusal(outcome, 2, {"fleet.publish_every 5", "fleet.max_policy_lag 2"});
  CHECK_FALSE(exists(runs.folder("run")));
  check_refusal(train({"fleet.ticket_size=3"}), 2, {"fleet.ticket_size 3", "4 slots"});
}

TEST_CASE("metrics ports that the actors of a run cannot all have are refused before anything starts") {
  const Runs runs;
  const auto refused = [&](const std::vector<std::string>& settings, const std::vector<std::string>& parts) {
    check_refusal(Process(runs.command("train", "run", settings)).wait(), 2, parts);
    CHECK_FALSE(std::filesystem::exists(runs.folder("run")));
  };
  refused({"http.actor_bind=127.0.0.1:65535"}, {"http.actor_bind", "127.0.0.1:65535", "actors.count is 2", "lower port"});
  refused({"http.actor_bind=127.0.0.1:9500", "http.bind=127.0.0.1:9501"}, {"http.bind 127.0.0.1:9501", "actor 1"});
}

TEST_CASE("a port that somebody else listens on is named") {
  const TakenPort port;
  check_refusal(train({"fleet.bind=" + port.address()}), 4, {port.address()});
  check_refusal(train({"fleet.bind=tcp://127.0.0.1:*", "fleet.weights_port=" + port.number()}), 4, {port.address()});
}

TEST_CASE("a folder that holds a run is not used again") {
  const std::string used = reference_run().folder, weights = weights_of(used);
  check_refusal(train({"run.dir=" + used}), 2, {used, "already holds"});
  CHECK(weights_of(used) == weights);
}

TEST_CASE("a run folder that cannot be made is named") {
  TemporaryFolder folder;
  // For root a folder without write permission is no obstacle; the kernel's is.
  const bool is_root = ::geteuid() == 0;
  const std::string parent = is_root ? "/proc/self" : folder.path();
  if (!is_root) std::filesystem::permissions(parent, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const Outcome outcome = train({"run.dir=" + parent + "/run"});
  if (!is_root) std::filesystem::permissions(parent, std::filesystem::perms::owner_all);
  check_refusal(outcome, 1, {parent + "/run"});
}

TEST_CASE("an actor with another base model is refused with both digests") {
  const Runs runs;
  const std::string run = runs.folder("run"), other = runs.folder("other-model");
  write_tiny_model(other, 2);
  Process learner(runs.command("learner", "run"));
  REQUIRE(wait_until([&] { return exists(run + "/endpoints.json"); }, kRunDeadline));
  const Outcome outcome = Process(actor_command(run, "stranger", {"pretrained.model=" + other})).wait();
  check_refusal(outcome, 4, {ModelFolder::open(other).digest(), ModelFolder::open(tiny_model()).digest()});
  learner.signal(SIGTERM);
  CHECK(learner.wait().exit == 0);
  CHECK(summary_of(run).at("trajectories") == 0);
}
