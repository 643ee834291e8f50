#include "launch/live/actor_service.h"

#include "common/log.h"
#include "launch/live/fleet_metrics.h"
#include "launch/live/prometheus_text.h"

#include <algorithm>

namespace nabla {

namespace {

// As many as a learner serves.
constexpr std::int64_t kMostActors = 4096;
constexpr std::int64_t kNumPorts = 65536;

// 0: none, or any free one. The address was checked with the configuration.
std::int64_t fixed_port(const std::string& address) { return address.empty() ? 0 : std::stoll(address.substr(address.rfind(':') + 1)); }

}  // namespace

std::int64_t most_actors_at(const std::string& actor_bind) {
  const std::int64_t port = fixed_port(actor_bind);
  return port == 0 ? kMostActors : std::min(kMostActors, kNumPorts - port);
}

std::string address_of_actor(const std::string& actor_bind, std::int64_t number) {
  const std::int64_t port = fixed_port(actor_bind);
  return port == 0 ? actor_bind : fmt::format("{}:{}", actor_bind.substr(0, actor_bind.rfind(':')), port + number);
}

void ActorService::serve_at(const std::string& tcp_address) {
  if (tcp_address.empty()) return;
  HttpServerOptions options;
  options.tcp_address = tcp_address;
  options.routes = {{"GET", "/healthz", [](const HttpRequest&) -> HttpResponse { return {.body = "ok\n"}; }},
                    {"GET", "/metrics", [this](const HttpRequest&) -> HttpResponse {
                       const std::lock_guard lock(mutex_);
                       return {.content_type = PrometheusText::kContentType, .body = actor_metrics(heartbeat_)};
                     }}};
  server_.emplace(options);
  log_info("metrics: http://{}/metrics", server_->tcp_address());
}

void ActorService::update(const Heartbeat& heartbeat) {
  const std::lock_guard lock(mutex_);
  heartbeat_ = heartbeat;
}

}  // namespace nabla
