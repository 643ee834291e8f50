#include "tests/chaos/actor_namespace.h"

#include "launch/child_process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <sys/wait.h>

#include <chrono>
#include <thread>

namespace nabla::chaos {

namespace {

constexpr const char* kIp = "/usr/sbin/ip";

bool run_ip(std::vector<std::string> words) {
  words.insert(words.begin(), kIp);
  ChildProcess child({.arguments = words, .environment = {}, .output_file = "/dev/null"});
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!child.poll() && std::chrono::steady_clock::now() < give_up) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return child.poll() == 0;
}

}  // namespace

std::string ActorNamespace::name() const { return fmt::format("nabla-chaos-{}", number_); }
std::string ActorNamespace::cable() const { return fmt::format("nc{}", number_); }
std::string ActorNamespace::address() const { return fmt::format("10.213.{}.1", number_ % 250); }
std::vector<std::string> ActorNamespace::prefix() const { return {kIp, "netns", "exec", name()}; }

std::unique_ptr<ActorNamespace> ActorNamespace::make(std::string& why) {
  if (::access(kIp, X_OK) != 0) {
    why = fmt::format("there is no {}", kIp);
    return nullptr;
  }
  std::unique_ptr<ActorNamespace> made(new ActorNamespace(static_cast<int>(::getpid() % 100'000)));
  const std::string inside = made->cable() + "b", outside = made->cable() + "a", name = made->name();
  const std::string network = fmt::format("10.213.{}.", made->number_ % 250);
  const bool done = run_ip({"netns", "add", name}) && run_ip({"link", "add", outside, "type", "veth", "peer", "name", inside}) &&
                    run_ip({"link", "set", inside, "netns", name}) && run_ip({"addr", "add", network + "1/30", "dev", outside}) &&
                    run_ip({"link", "set", outside, "up"}) && run_ip({"-n", name, "addr", "add", network + "2/30", "dev", inside}) &&
                    run_ip({"-n", name, "link", "set", inside, "up"});
  if (done) return made;
  why = "this process may not make a network namespace with a cable";
  return nullptr;
}

// The cable goes with either end.
ActorNamespace::~ActorNamespace() {
  run_ip({"link", "del", cable() + "a"});
  run_ip({"netns", "del", name()});
}

void ActorNamespace::set_cable(bool up) { run_ip({"link", "set", cable() + "a", up ? "up" : "down"}); }

}  // namespace nabla::chaos
