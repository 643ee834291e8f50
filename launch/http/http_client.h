#pragma once

#include "launch/http/http_message.h"

#include <chrono>
#include <string>

namespace nabla {

// One request to a server at "unix:<path>" or "http://<host>:<port>". network_error naming the address when nobody answers there within the
// deadline; a status other than 200 is the caller's to judge.
HttpResponse call_http(const std::string& address, const std::string& method, const std::string& target,
                       std::chrono::milliseconds deadline);

}  // namespace nabla
