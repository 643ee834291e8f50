#include "launch/live/fleet_routes.h"

#include "common/log.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <charconv>

namespace nabla {

namespace {

HttpResponse fleet_json(const FleetView& view) {
  nlohmann::ordered_json actors = nlohmann::ordered_json::array();
  for (const auto& actor : view.actors) {
    actors.push_back(
        {{"id", fmt::format("actor-{}", actor.number)}, {"pid", actor.pid}, {"state", actor.state}, {"restarts", actor.restarts}});
  }
  const nlohmann::ordered_json json{
      {"pid", getpid()}, {"learner_pid", view.learner_pid}, {"actors_wanted", view.actors_wanted}, {"actors", actors}};
  const std::string text = json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return {.content_type = "application/json", .body = fmt::format("{}\n", text)};
}

HttpResponse scale(FleetControl& control, const HttpRequest& request, std::int64_t most_actors) {
  const auto found = request.query.find("actors");
  const std::string text = found == request.query.end() ? "" : found->second;
  std::int64_t wanted = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted);
  if (error != std::errc{} || end != text.data() + text.size() || wanted < 0 || wanted > most_actors)
    return {.status = 400,
            .body = fmt::format("actors is '{}'; a number from 0 to {} is expected: POST /scale?actors=4\n", text, most_actors)};
  const std::int64_t before = control.view().actors_wanted;
  control.scale_to(wanted);
  return {.content_type = "application/json", .body = fmt::format("{{\"before\": {}, \"wanted\": {}}}\n", before, wanted)};
}

}  // namespace

std::vector<HttpRoute> fleet_routes(FleetControl& control, std::stop_source& stop, std::int64_t most_actors) {
  return {{"GET", "/fleet", [&control](const HttpRequest&) { return fleet_json(control.view()); }},
          {"GET", "/healthz", [](const HttpRequest&) -> HttpResponse { return {.body = "ok\n"}; }},
          {"POST", "/scale", [&control, most_actors](const HttpRequest& request) { return scale(control, request, most_actors); }},
          {"POST", "/stop", [&stop](const HttpRequest&) -> HttpResponse {
             log_info("asked to stop");
             stop.request_stop();
             return {.body = "stopping\n"};
           }}};
}

}  // namespace nabla
