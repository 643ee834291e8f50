#include "launch/live/actor_service.h"

#include "common/log.h"
#include "launch/live/fleet_metrics.h"
#include "launch/live/prometheus_text.h"

namespace nabla {

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
