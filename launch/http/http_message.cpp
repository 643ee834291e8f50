#include "launch/http/http_message.h"

#include <fmt/format.h>

#include <exception>
#include <sstream>

namespace nabla {

HttpRequest parse_target(const std::string& method, const std::string& target) {
  HttpRequest request;
  request.method = method;
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  std::istringstream pairs(mark == std::string::npos ? "" : target.substr(mark + 1));
  for (std::string pair; std::getline(pairs, pair, '&');) {
    const std::size_t equals = pair.find('=');
    request.query[pair.substr(0, equals)] = equals == std::string::npos ? "" : pair.substr(equals + 1);
  }
  return request;
}

HttpResponse route_request(const std::vector<HttpRoute>& routes, const HttpRequest& request) try {
  std::string paths, methods;
  for (const HttpRoute& route : routes) {
    paths += fmt::format("{}{}", paths.empty() ? "" : ", ", route.path);
    if (route.path != request.path) continue;
    if (route.method == request.method) return route.answer(request);
    methods += fmt::format("{}{}", methods.empty() ? "" : ", ", route.method);
  }
  if (methods.empty()) return {.status = 404, .body = fmt::format("there is no {}; there are: {}\n", request.path, paths)};
  return {.status = 405, .body = fmt::format("{} takes {}, not {}\n", request.path, methods, request.method)};
} catch (const std::exception& error) {
  return {.status = 500, .body = fmt::format("{}\n", error.what())};
}

}  // namespace nabla
