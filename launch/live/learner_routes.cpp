#include "launch/live/learner_routes.h"

#include "common/log.h"
#include "launch/live/fleet_metrics.h"
#include "launch/live/prometheus_text.h"
#include "launch/live/status_json.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

const HttpResponse kNotNow{.status = 503, .body = "the run is starting or ending\n"};

}  // namespace

std::vector<HttpRoute> learner_routes(std::function<std::shared_ptr<const FleetStatus>()> status, std::stop_source& stop,
                                      std::shared_ptr<std::atomic<bool>> checkpoint_wanted) {
  const auto answer_status = [status](const HttpRequest&) -> HttpResponse {
    const auto now = status();
    if (!now) return kNotNow;
    // An actor's name is bytes of its own choosing.
    const std::string text = status_json(*now).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    return {.content_type = "application/json", .body = fmt::format("{}\n", text)};
  };
  const auto answer_metrics = [status](const HttpRequest&) -> HttpResponse {
    const auto now = status();
    if (!now) return kNotNow;
    return {.content_type = PrometheusText::kContentType, .body = learner_metrics(*now)};
  };
  const auto answer_health = [](const HttpRequest&) -> HttpResponse { return {.body = "ok\n"}; };
  const auto answer_ready = [status](const HttpRequest&) -> HttpResponse { return status() ? HttpResponse{.body = "ready\n"} : kNotNow; };
  const auto answer_stop = [&stop](const HttpRequest&) -> HttpResponse {
    log_info("asked to stop");
    stop.request_stop();
    return {.body = "stopping\n"};
  };
  const auto answer_checkpoint = [status, wanted = std::move(checkpoint_wanted)](const HttpRequest&) -> HttpResponse {
    if (!status()) return kNotNow;
    log_info("asked for a checkpoint");
    *wanted = true;
    return {.body = "at the next boundary of updates\n"};
  };
  return {{"GET", "/status", answer_status},
          {"GET", "/metrics", answer_metrics},
          {"GET", "/healthz", answer_health},
          {"GET", "/readyz", answer_ready},
          {"POST", "/checkpoint", answer_checkpoint},
          {"POST", "/stop", answer_stop}};
}

}  // namespace nabla
