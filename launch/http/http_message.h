#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nabla {

struct HttpRequest {
  std::string method, path, body;
  std::map<std::string, std::string> query;  // of "?name=value&name=value"; names and values are taken as they stand
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8", body;
};

// What is answered to one method and one exact path.
struct HttpRoute {
  std::string method, path;
  std::function<HttpResponse(const HttpRequest&)> answer;
};

// The answer of the route that fits: 404 for an unknown path (naming those there are), 405 for another method, 500 with the message of what the
// route threw.
HttpResponse route_request(const std::vector<HttpRoute>& routes, const HttpRequest& request);

// "/scale?actors=3" -> path and query.
HttpRequest parse_target(const std::string& method, const std::string& target);

}  // namespace nabla
